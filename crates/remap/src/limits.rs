//! What a source may ask for, seen before it is read: its size, how deep it goes, and how far its indices reach.
//!
//! The compiler recurses, and so does what it makes when it runs and when it is dropped: brackets within brackets, but
//! as well `1 + 1 + 1 ...`, `!!!!...`, `if ... else if ...` and `.a.a.a ...`. A stack that is exhausted ends the process,
//! whoever wrote the source. So what could become a level of the tree is counted in the text: never too little, at times
//! a little too much.

use crate::diagnostic::Diagnostic;

/// The largest source, in bytes: 1 MiB. A larger one is an error that says so.
pub const SOURCE_MAX_BYTES: usize = 1 << 20;

/// The deepest nesting of brackets in a source: 64. A deeper one is an error that says so.
pub const NESTING_MAX: usize = 64;

/// The most operators, `else` and placeholders of templates in one expression, those around it included: 256. More are
/// an error that says so.
pub const CHAIN_MAX: usize = 256;

/// The most segments of a path: 64, half as deep as a record may be. More are an error that says so.
pub const PATH_MAX: usize = 64;

/// The largest index of a path, from either end: 10,000. An assignment fills up an array with `null` to its index. A
/// larger one is an error that says so.
pub const INDEX_MAX: u64 = 10_000;

/// The stack of the thread that compiles: 64 MiB of addresses, of which as much is used as a source goes deep. The deepest
/// that is let through needs about 10 in a build without optimisation, more than most threads have.
const STACK_BYTES: usize = 64 << 20;

/// Compiles on a thread with a stack for it, and waits for that.
///
/// # Errors
/// There can be no thread.
pub(crate) fn on_deep_stack<T: Send>(
    source: &str,
    compile: impl FnOnce() -> Result<T, Vec<Diagnostic>> + Send,
) -> Result<T, Vec<Diagnostic>> {
    // It is waited for at once: only its stack is wanted.
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, compile);
        match thread.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(compiled)) => compiled,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(error) => Err(vec![Diagnostic::whole(source, format!("no thread to compile it on: {error}"))]),
        }
    })
}

/// Whether the compiler can be given a source.
///
/// # Errors
/// The limit that the source is over, and where.
pub(crate) fn check(source: &str) -> Result<(), Vec<Diagnostic>> {
    if source.len() > SOURCE_MAX_BYTES {
        let message = format!("the source has {} bytes; at most {SOURCE_MAX_BYTES} are read", source.len());
        return Err(vec![Diagnostic::whole(source, message)]);
    }
    let mut scan = Scan { bytes: source.as_bytes(), at: 0, outer: Vec::new(), run: Run::default() };
    match scan.all() {
        Ok(()) => Ok(()),
        Err(over) => Err(vec![Diagnostic::at(over.at..over.at + 1, over.words())]),
    }
}

/// A limit that a source is over, and the byte at which it is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
struct Over {
    what: What,
    at: usize,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum What {
    Nesting,
    Chain,
    Path,
    Index,
}

impl Over {
    fn words(self) -> String {
        match self.what {
            What::Nesting => format!("brackets are nested more than {NESTING_MAX} deep"),
            What::Chain => format!(
                "more than {CHAIN_MAX} operators in one expression; give parts of it names, in assignments of their own"
            ),
            What::Path => format!("a path of more than {PATH_MAX} segments"),
            What::Index => format!("an index over {INDEX_MAX}: an assignment would fill the array up to it"),
        }
    }
}

/// One expression, as far as it was read.
#[derive(Copy, Clone, Debug, Default)]
struct Run {
    /// What may be a level of the tree each.
    links: usize,
    /// Whether something was assigned: a comma need not end the expression then, as in `a, err = b, err = c`.
    assigns: bool,
}

/// A walk over the text. Strings and comments are skipped.
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The expressions around the one that is read, by the bracket that is open in each.
    outer: Vec<Run>,
    run: Run,
}

impl Scan<'_> {
    fn all(&mut self) -> Result<(), Over> {
        while let Some(byte) = self.bytes.get(self.at).copied() {
            match byte {
                b'"' => self.string(b'"')?,
                b'\'' if matches!(self.before(), b's' | b'r' | b't') => self.string(b'\'')?,
                b'#' => self.comment(),
                b'(' | b'[' | b'{' => self.open()?,
                b')' | b']' | b'}' => self.close(),
                b'\n' => self.line(),
                b';' => self.run = Run::default(),
                b',' if !self.run.assigns => self.run = Run::default(),
                b'!' => self.link()?,
                _ if is_operator(byte) => self.operator()?,
                _ if is_name(byte) || byte == b'.' => {
                    self.name()?;
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
        Ok(())
    }

    fn before(&self) -> u8 {
        self.at.checked_sub(1).map_or(b' ', |at| self.bytes[at])
    }

    fn over(&self, what: What) -> Over {
        Over { what, at: self.at }
    }

    fn link(&mut self) -> Result<(), Over> {
        self.run.links += 1;
        let all = self.run.links + self.outer.iter().map(|run| run.links).sum::<usize>();
        if all > CHAIN_MAX { Err(self.over(What::Chain)) } else { Ok(()) }
    }

    fn open(&mut self) -> Result<(), Over> {
        if self.outer.len() == NESTING_MAX {
            return Err(self.over(What::Nesting));
        }
        self.outer.push(std::mem::take(&mut self.run));
        Ok(())
    }

    fn close(&mut self) {
        // What follows goes on with the expression that the bracket stands in.
        self.run = self.outer.pop().unwrap_or_default();
    }

    /// An operator of one byte or several.
    fn operator(&mut self) -> Result<(), Over> {
        let from = self.at;
        while self.bytes.get(self.at + 1).is_some_and(|byte| is_operator(*byte)) {
            self.at += 1;
        }
        self.run.assigns |= &self.bytes[from..=self.at] == b"=";
        self.link()
    }

    /// A name or a path: `else`, `.a."b c"[0]`. The caller goes on behind it.
    fn name(&mut self) -> Result<(), Over> {
        let (from, mut segments) = (self.at, 0);
        while let Some(byte) = self.bytes.get(self.at).copied() {
            match byte {
                _ if is_name(byte) => {}
                b'.' => segments += 1,
                b'"' if self.before() == b'.' => self.string(b'"')?,
                b'[' => match self.index()? {
                    true => segments += 1,
                    false => break,
                },
                _ => break,
            }
            if segments > PATH_MAX {
                return Err(self.over(What::Path));
            }
            self.at += 1;
        }
        // A quote without its end leads beyond the text.
        let word = self.bytes.get(from..self.at).unwrap_or_default();
        if matches!(word, b"else" | b"return" | b"abort") { self.link() } else { Ok(()) }
    }

    /// Whether `[0]` begins here; if so, goes to its closing bracket.
    fn index(&mut self) -> Result<bool, Over> {
        let rest = &self.bytes[self.at + 1..];
        let Some(length) = rest.iter().position(|byte| *byte == b']') else { return Ok(false) };
        let text = rest[..length].trim_ascii();
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        if digits.is_empty() || !digits.iter().all(|byte| byte.is_ascii_digit() || *byte == b'_') {
            return Ok(false);
        }
        let number = digits.iter().filter(|byte| byte.is_ascii_digit());
        let number =
            number.fold(0_u64, |number, byte| number.saturating_mul(10).saturating_add(u64::from(byte - b'0')));
        if number > INDEX_MAX {
            return Err(self.over(What::Index));
        }
        self.at += length + 1;
        Ok(true)
    }

    /// Goes to the closing quote. A placeholder of a template is an operand of a sum.
    fn string(&mut self, quote: u8) -> Result<(), Over> {
        self.at += 1;
        while let Some(byte) = self.bytes.get(self.at).copied() {
            match byte {
                b'\\' => self.at += 1,
                b'{' if self.bytes.get(self.at + 1) == Some(&b'{') => {
                    self.at += 1;
                    self.link()?;
                }
                byte if byte == quote => return Ok(()),
                _ => {}
            }
            self.at += 1;
        }
        Ok(())
    }

    /// Goes to the last byte of the line.
    fn comment(&mut self) {
        let rest = &self.bytes[self.at..];
        self.at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()).saturating_sub(1);
    }

    /// The end of a line ends an expression, unless an operator stands before it or what goes on with one behind it.
    fn line(&mut self) {
        let last = self.bytes[..self.at].trim_ascii_end().last();
        let mut rest = self.bytes[self.at..].trim_ascii_start();
        while rest.first() == Some(&b'#') {
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            rest = rest[end..].trim_ascii_start();
        }
        let goes_on = rest.first().is_some_and(|byte| is_operator(*byte)) || rest.starts_with(b"else");
        // A comment may end in what looks like an operator: then this counts too much, not too little.
        if !goes_on && !last.is_some_and(|byte| is_operator(*byte) || *byte == b'!') {
            self.run = Run::default();
        }
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'@') || !byte.is_ascii()
}

fn is_operator(byte: u8) -> bool {
    matches!(byte, b'+' | b'-' | b'*' | b'/' | b'%' | b'=' | b'|' | b'&' | b'<' | b'>' | b'?')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(source: &str) -> Option<What> {
        let mut scan = Scan { bytes: source.as_bytes(), at: 0, outer: Vec::new(), run: Run::default() };
        scan.all().err().map(|over| over.what)
    }

    #[test]
    fn brackets_count_outside_of_strings_and_comments() {
        let deep = |open: &str| open.repeat(NESTING_MAX + 1);
        for (source, what) in [
            (deep("("), Some(What::Nesting)),
            (deep(" [") + "1", Some(What::Nesting)),
            (deep("{\"a\": "), Some(What::Nesting)),
            (format!("\"{}\\\"(((\" + \"((\"", deep("(")), None),
            (format!("r'{}' # {}", deep("("), deep("(")), None),
            (format!("s'it\\'s {}'", deep("(")), None),
            ("()".repeat(1_000), None),
            (")".repeat(1_000), None),
        ] {
            assert_eq!(over(&source), what, "{source}");
        }
    }

    #[test]
    fn what_makes_a_tree_deep_is_counted_in_any_disguise() {
        let many = |text: &str| text.repeat(CHAIN_MAX + 1);
        for source in [
            format!(".x = 1{}", many(" + 1")),
            format!(".x = 1{}", many(" +\n 1")),
            format!(".x = 1{}", many("\n + 1")),
            format!(".x = 1{}", many(" # why\n + 1")),
            format!(".x = {}true", many("!")),
            many(".x = ") + "1",
            many("x, err = ") + "1",
            format!("if .a {{ 1 }}{}", many(" else if .b { 2 }")),
            format!("if .a {{ 1 }}{}", many("\nelse if .b { 2 }")),
            format!("\"{}\"", many("{{ a }}")),
            many("return ") + "1",
            // In parts: half outside of the brackets, half within.
            format!("1{}({})", " + 1".repeat(200), "1 + ".repeat(100)),
        ] {
            assert_eq!(over(&source), Some(What::Chain), "{source}");
        }
        for source in [
            many(".x = 1 + 1\n"),
            many(".x = 1 + 1;"),
            format!("f({})", many("1 + 1, ")),
            format!("[{}]", many("!a, ")),
            format!("# {}\n1", many("+")),
            format!(".x = \"{}\"", many("+ ")),
            many("if .a == 1 || .b == 2 { .c = 3 } else { .d = 4 }\n"),
        ] {
            assert_eq!(over(&source), None, "{source}");
        }
    }

    #[test]
    fn paths_are_short_and_their_indices_small() {
        assert_eq!(over(&format!("{} = 1", ".a".repeat(PATH_MAX + 1))), Some(What::Path));
        assert_eq!(over(&format!("{} = 1", ".\"a b\"".repeat(PATH_MAX + 1))), Some(What::Path));
        assert_eq!(over(&format!(".a{} = 1", "[0]".repeat(PATH_MAX + 1))), Some(What::Path));
        assert_eq!(over(&".a = .b\n".repeat(1_000)), None);
        for (source, what) in [
            (".a[10000] = 1", None),
            (".a[10001] = 1", Some(What::Index)),
            (".a[-10001] = 1", Some(What::Index)),
            (".[99999999999999999999999] = 1", Some(What::Index)),
            ("x[1_000_000] = 1", Some(What::Index)),
            (".\"a b\"[ 70000 ] = 1", Some(What::Index)),
            ("f(.a)[70000]", None),
            (".a = [70000]", None),
            ("\".a[70000]\"", None),
            (".\"", None),
            (".\"a\\", None),
            (".a[", None),
            ("\"\\", None),
            ("#", None),
        ] {
            assert_eq!(over(source), what, "{source}");
        }
    }
}
