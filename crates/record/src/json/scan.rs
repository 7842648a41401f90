//! [`scan`]: one pass over a JSON text that checks all of it and notes where the members of the object stand.

use std::fmt;

use super::find::{Members, skip_space};
use super::{Kind, kind, word};

/// How many containers may stand within each other, the outermost counted. As deep as `serde_json` reads, so that what
/// is valid here is valid for those who read it with that.
pub const MAX_DEPTH: usize = 127;

/// Members of an object that a scan notes at most; an object with more is searched the slow way.
const MAX_NOTED: usize = 256;

/// Where a member of an object stands in its text.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    pub(super) key: u32,
    pub(super) key_end: u32,
    pub(super) value: u32,
    pub(super) value_end: u32,
}

/// What a scan saw.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// The object or array begins at this byte; what comes before is white space.
    pub start: usize,
    /// It ends before this byte; what comes behind is white space.
    pub end: usize,
    /// Whether a key, at any depth, has an escape in it. Such a key cannot be compared as bytes.
    pub has_escaped_keys: bool,
    /// Whether two members at the top level have the same name, or there are too many to tell. In objects further down
    /// it is not looked for.
    pub has_duplicate_keys: bool,
    /// Whether a number is too long or too large to be sure that it fits 64 bits: more than 18 digits, or an exponent
    /// of more than two.
    pub has_wide_numbers: bool,
}

impl Shape {
    /// Whether the members can be found and changed as bytes, and any reader makes the same of the numbers.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        !self.has_escaped_keys && !self.has_duplicate_keys && !self.has_wide_numbers
    }
}

/// Why a text is not JSON, and where.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Invalid {
    /// The byte at which it ceases to be JSON.
    pub at: usize,
    /// What is wrong there.
    pub why: Why,
}

/// What can be wrong with a JSON text.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// The text ends too early.
    End,
    /// A value was expected.
    Value,
    /// A key in quotes was expected.
    Key,
    /// A colon was expected.
    Colon,
    /// A comma or the end of the object or array was expected.
    Comma,
    /// A number is not written as JSON wants it.
    Number,
    /// There is no such escape.
    Escape,
    /// An escape stands for half a surrogate pair.
    Surrogate,
    /// A control character must be escaped.
    Control,
    /// The text is not UTF-8.
    Utf8,
    /// Deeper than [`MAX_DEPTH`].
    Depth,
    /// Something follows the value.
    Trailing,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::End => "the text ends too early",
            Self::Value => "expected a value",
            Self::Key => "expected a key in double quotes",
            Self::Colon => "expected a colon",
            Self::Comma => "expected a comma or the end of the object or array",
            Self::Number => "malformed number",
            Self::Escape => "no such escape",
            Self::Surrogate => "half of a surrogate pair",
            Self::Control => "control character in a string; escape it",
            Self::Utf8 => "not UTF-8",
            Self::Depth => "nested too deeply",
            Self::Trailing => "expected the end of the text",
        })
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid JSON at byte {}: {}", self.at, self.why)
    }
}

impl std::error::Error for Invalid {}

/// Checks that the whole of `text` is one JSON value, and notes the members of the outermost object in `members` (which
/// is emptied first; it stays empty for other values, and for an object of more than 256 members).
///
/// # Errors
/// Where and why it is not.
pub fn scan(text: &[u8], members: &mut Vec<Member>) -> Result<Shape, Invalid> {
    members.clear();
    let mut scan = Scan { text, at: skip_space(text, 0), ..Scan::default() };
    let start = scan.at;
    scan.run(members)?;
    let end = scan.at;
    scan.at = skip_space(text, end);
    if scan.at != text.len() {
        return Err(scan.invalid(Why::Trailing));
    }
    if scan.beyond_ascii & word::TOPS != 0
        && let Err(error) = std::str::from_utf8(text)
    {
        return Err(Invalid { at: error.valid_up_to(), why: Why::Utf8 });
    }
    if members.len() > MAX_NOTED {
        members.clear();
        scan.shape.has_duplicate_keys = true;
    }
    if kind(text) != Kind::Object {
        members.clear();
    }
    Ok(Shape { start, end, ..scan.shape })
}

/// A scan under way.
#[derive(Default)]
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    /// The containers that are open, the innermost in the lowest bit: set for an object.
    open: u128,
    depth: usize,
    /// Every byte of a string so far, or-ed together.
    beyond_ascii: u64,
    /// One bit for each name seen at the top level.
    names: u64,
    shape: Shape,
}

impl Scan<'_> {
    fn run(&mut self, members: &mut Vec<Member>) -> Result<(), Invalid> {
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    self.string()?;
                }
                Some(b'{') => {
                    self.open(true)?;
                    if self.peek() != Some(b'}') {
                        self.key(members)?;
                        continue;
                    }
                    self.close();
                }
                Some(b'[') => {
                    self.open(false)?;
                    if self.peek() != Some(b']') {
                        continue;
                    }
                    self.close();
                }
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.literal(b"true")?,
                Some(b'f') => self.literal(b"false")?,
                Some(b'n') => self.literal(b"null")?,
                Some(_) => return Err(self.invalid(Why::Value)),
                None => return Err(self.invalid(Why::End)),
            }
            if !self.after_value(members)? {
                return Ok(());
            }
        }
    }

    /// Reads on behind a value; says whether another follows.
    #[inline(always)]
    fn after_value(&mut self, members: &mut Vec<Member>) -> Result<bool, Invalid> {
        while self.depth > 0 {
            if self.depth == 1
                && let Some(member) = members.last_mut()
            {
                member.value_end = narrow(self.at);
            }
            self.at = skip_space(self.text, self.at);
            let in_object = self.open & 1 == 1;
            match self.peek() {
                Some(b',') => {
                    self.at = skip_space(self.text, self.at + 1);
                    if in_object {
                        self.key(members)?;
                    }
                    return Ok(true);
                }
                Some(b'}') if in_object => self.close(),
                Some(b']') if !in_object => self.close(),
                Some(_) => return Err(self.invalid(Why::Comma)),
                None => return Err(self.invalid(Why::End)),
            }
        }
        Ok(false)
    }

    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    #[cold]
    fn invalid(&self, why: Why) -> Invalid {
        let why = if self.at >= self.text.len() { Why::End } else { why };
        Invalid { at: self.at, why }
    }

    /// Enters a container, and stops at the first byte in it that is no white space.
    #[inline(always)]
    fn open(&mut self, is_object: bool) -> Result<(), Invalid> {
        if self.depth == MAX_DEPTH {
            return Err(self.invalid(Why::Depth));
        }
        self.depth += 1;
        self.open = (self.open << 1) | u128::from(is_object);
        self.at = skip_space(self.text, self.at + 1);
        Ok(())
    }

    #[inline(always)]
    fn close(&mut self) {
        self.depth -= 1;
        self.open >>= 1;
        self.at += 1;
    }

    /// Reads a key and its colon, up to the value.
    #[inline(always)]
    fn key(&mut self, members: &mut Vec<Member>) -> Result<(), Invalid> {
        if self.peek() != Some(b'"') {
            return Err(self.invalid(Why::Key));
        }
        self.at += 1;
        let key = self.at;
        let has_escapes = self.string()?;
        self.shape.has_escaped_keys |= has_escapes;
        let key_end = self.at - 1;
        if self.peek() != Some(b':') {
            self.at = skip_space(self.text, self.at);
            if self.peek() != Some(b':') {
                return Err(self.invalid(Why::Colon));
            }
        }
        self.at = skip_space(self.text, self.at + 1);
        if self.depth == 1 && members.len() <= MAX_NOTED {
            self.note(key, key_end, members);
        }
        Ok(())
    }

    /// Notes a member of the outermost object, and whether there was one of its name.
    #[inline(always)]
    fn note(&mut self, key: usize, key_end: usize, members: &mut Vec<Member>) {
        let name = &self.text[key..key_end];
        let (first, last) = (name.first().copied().unwrap_or(0), name.last().copied().unwrap_or(0));
        let mixed =
            name.len().wrapping_mul(7) ^ usize::from(first).wrapping_mul(13) ^ usize::from(last).wrapping_mul(3);
        let bit = 1_u64 << (mixed & 63);
        if self.names & bit != 0 {
            self.shape.has_duplicate_keys |= Members::new(self.text, members).any(|(own, _)| own == name);
        }
        self.names |= bit;
        members.push(Member { key: narrow(key), key_end: narrow(key_end), value: narrow(self.at), value_end: 0 });
    }

    /// Reads a string from behind its opening quote to behind its closing one; says whether it has escapes.
    #[inline(always)]
    fn string(&mut self) -> Result<bool, Invalid> {
        let mut has_escapes = false;
        loop {
            while let Some(eight) = word::load(self.text, self.at) {
                let marks = word::marks_in_string(eight);
                self.beyond_ascii |= eight;
                if marks != 0 {
                    self.at += word::lowest(marks);
                    break;
                }
                self.at += 8;
            }
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(has_escapes);
                }
                Some(b'\\') => {
                    has_escapes = true;
                    self.escape()?;
                }
                Some(byte) if byte < 0x20 => return Err(self.invalid(Why::Control)),
                // Only within eight bytes of the end of the text.
                Some(byte) => {
                    self.beyond_ascii |= u64::from(byte);
                    self.at += 1;
                }
                None => return Err(self.invalid(Why::End)),
            }
        }
    }

    /// Reads an escape.
    fn escape(&mut self) -> Result<(), Invalid> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                let unit = self.unit()?;
                if (0xDC00..0xE000).contains(&unit) {
                    return Err(self.invalid(Why::Surrogate));
                }
                if (0xD800..0xDC00).contains(&unit) {
                    self.low_surrogate()?;
                }
            }
            Some(_) => return Err(self.invalid(Why::Escape)),
            None => return Err(self.invalid(Why::End)),
        }
        Ok(())
    }

    /// Reads the escape of a low surrogate, which must come next.
    fn low_surrogate(&mut self) -> Result<(), Invalid> {
        if self.text.get(self.at..self.at + 2) != Some(b"\\u") {
            return Err(self.invalid(Why::Surrogate));
        }
        self.at += 1;
        let unit = self.unit()?;
        if (0xDC00..0xE000).contains(&unit) { Ok(()) } else { Err(self.invalid(Why::Surrogate)) }
    }

    /// Reads `u` and four hexadecimal digits.
    fn unit(&mut self) -> Result<u32, Invalid> {
        let mut unit = 0;
        for offset in 1..=4 {
            let digit = self.text.get(self.at + offset).and_then(|byte| char::from(*byte).to_digit(16));
            let Some(digit) = digit else {
                self.at += offset;
                return Err(self.invalid(Why::Escape));
            };
            unit = unit * 16 + digit;
        }
        self.at += 5;
        Ok(unit)
    }

    #[inline(always)]
    fn literal(&mut self, word: &[u8]) -> Result<(), Invalid> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if rest.starts_with(word) {
            self.at += word.len();
            return Ok(());
        }
        self.at += rest.iter().zip(word).take_while(|(have, want)| have == want).count();
        Err(self.invalid(Why::Value))
    }

    #[inline(always)]
    fn number(&mut self) -> Result<(), Invalid> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let leads_with_zero = self.peek() == Some(b'0');
        let whole = self.digits()?;
        if leads_with_zero && whole > 1 {
            self.at -= whole - 1;
            return Err(self.invalid(Why::Number));
        }
        let mut digits = whole;
        if self.peek() == Some(b'.') {
            self.at += 1;
            digits += self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            let exponent = self.digits()?;
            self.shape.has_wide_numbers |= exponent > 2;
        }
        self.shape.has_wide_numbers |= digits > 18;
        Ok(())
    }

    /// Reads digits, at least one; says how many.
    #[inline(always)]
    fn digits(&mut self) -> Result<usize, Invalid> {
        let from = self.at;
        while let Some(eight) = word::load(self.text, self.at) {
            let count = word::digits(eight);
            self.at += count;
            if count < 8 {
                break;
            }
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == from { Err(self.invalid(Why::Number)) } else { Ok(self.at - from) }
    }
}

/// An offset in a record. Records are far smaller than 4 GiB; one that is not is never searched by these.
#[inline(always)]
fn narrow(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
