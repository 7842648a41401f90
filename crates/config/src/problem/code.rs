//! The codes of problems: stable names of classes of mistakes, for people to look up and for tools to match.

use std::fmt;

use super::Severity;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $severity:ident $text:literal, $title:literal, $more:literal;)*) => {
        /// The class of a problem. Codes do not change their meaning; one that is no longer used is not given again.
        #[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = concat!("`", $text, "`: ", $title, ".")] $(#[$doc])* $name,)*
        }

        impl Code {
            /// Every code, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as it is printed: a letter and four digits.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What the class is about.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// What it means, and how to mend it, in a sentence or two.
            #[must_use]
            pub const fn more(self) -> &'static str {
                match self { $(Self::$name => $more,)* }
            }

            /// The code of this text, in whichever case: `e0101`.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.as_str().eq_ignore_ascii_case(text))
            }

            /// Whether problems of this class keep a plan from running.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }
        }
    };
}

codes! {
    Unreadable = Error "E0001", "a file or directory cannot be read",
        "The file or directory does not exist, or this user may not read it. Check the path and its permissions.";
    NotUtf8 = Error "E0002", "a file is not UTF-8",
        "Pipeline files are UTF-8. The place shows the first byte that is not; save the file anew, or convert it with `iconv`.";
    TooLarge = Error "E0003", "a file is too large, or there are too many",
        "A file of more than 4 MiB, or a directory of more than 1,000 files, is taken for a mistake: perhaps it holds data, not configuration.";
    YamlSyntax = Error "E0004", "the text is not YAML",
        "The place is where reading stopped; the mistake is often just before it: a tab, a missing blank behind a colon, a quote that is not closed, a wrong indentation.";
    TomlSyntax = Error "E0005", "the text is not TOML",
        "The place is where reading stopped; often a quote or a bracket is missing, or a text has no quotes.";
    JsonSyntax = Error "E0006", "the text is not JSON",
        "The place is where reading stopped; often a comma is missing or too many, or a comment stands where JSON has none.";
    DuplicateKey = Error "E0007", "a key stands twice in the same table",
        "Which of the two counts would be chance. Remove one, or rename it.";
    TooDeep = Error "E0008", "the text nests too deep, or its aliases expand to too much",
        "Files nest at most 64 deep, and aliases expand to a bounded number of values.";
    UnsupportedYaml = Error "E0009", "YAML that has no meaning here: several documents, tags, keys that are no text",
        "One document for each file; no tags such as `!secret`; keys are text. Quote a key that looks like a number.";
    UnknownFormat = Error "E0010", "the name of a file says neither YAML, TOML nor JSON",
        "Files end in `.yaml`, `.yml`, `.toml` or `.json`.";
    UnsetVariable = Error "E0012", "a variable of the environment is not set",
        "Set the variable, or write a default: `${NAME:-default}`. What a variable gives is taken for a secret and shown nowhere.";
    BadReference = Error "E0013", "a reference to a variable that has no end or no name",
        "Write `${NAME}` or `${NAME:-default}`; a dollar sign that is meant as such is `$$`.";
    DefinedTwice = Error "E0014", "two files define the same name or set the same key",
        "Of several files each defines its own components. Rename one of the two, or remove it.";
    BareVariable = Warning "W0015", "`$NAME` without braces stays as it is",
        "References are written `${NAME}`. Where the text is meant as it stands, write `$$NAME`.";

    UnknownKey = Error "E0101", "a key that nobody knows",
        "Probably mistyped: the message names the nearest key that there is, and all of them. `tidegate list TYPE` prints what a component takes.";
    WrongType = Error "E0102", "a value of another type than the key takes",
        "The message says what the key takes and what was found. Text that looks like a number or a truth value needs quotes, and a number must not have them.";
    MissingKey = Error "E0103", "a key that must be there is missing",
        "The component cannot do without it. `tidegate list TYPE` prints an example.";
    InvalidValue = Error "E0104", "a value of the right type that makes no sense",
        "The type is right, the value is not: a negative time, a unit that nobody knows, a number out of range. The message shows how to write it.";
    UnknownValue = Error "E0105", "a word that is none of those that the key takes",
        "The key takes one of a few words; the message lists them.";
    UnknownType = Error "E0106", "a component type that does not exist",
        "The message names the nearest type, and all that there are: `tidegate list`.";
    OtherKind = Error "E0107", "a component type of another kind",
        "The type exists under another section: a source stands below `sources:`, and so on.";
    WithoutEffect = Warning "W0108", "a key of Vector that has no effect here",
        "The file was written for Vector, and what the key asks for is not needed or is done otherwise here; the note says which. Remove it, or leave it for Vector.";
    NotYet = Error "E0109", "something that this version cannot do yet",
        "The file means something that cannot be done here yet, and would mean something else without it. The message says what to write instead.";
    NoEffectYet = Warning "W0110", "a setting that has no effect in this version",
        "The setting is understood and will have an effect in a later version; the message says what happens until then.";

    UnknownInput = Error "E0201", "an input that does not exist",
        "An input is the name of a source or a transform, or `name.output`. Probably mistyped, or the component was renamed.";
    BadInput = Error "E0202", "an input that gives no records",
        "Records come out of sources and transforms; a sink gives none, and a component cannot read itself.";
    NoInputs = Error "E0203", "a transform or sink without inputs",
        "Name what it reads: `inputs: [name]`.";
    EmptyWildcard = Error "E0204", "a wildcard that matches nothing",
        "`*` stands for any text within a name, and something must match it.";
    Cycle = Error "E0205", "components that feed each other in a circle",
        "Records would go round without end. The message shows the circle; take one of its inputs out.";
    BadName = Error "E0206", "a component name that cannot be used",
        "A name has letters, digits, `_` and `-`; a dot would be taken for an output.";
    NameTaken = Error "E0207", "two components of the same name",
        "Sources, transforms and sinks share one space of names, because `inputs` and the metrics do.";
    RepeatedInput = Warning "W0208", "the same input twice",
        "Each record would come twice; the repetition is left out.";
    UnknownOutput = Error "E0209", "an output that the component does not have",
        "A `route` has the outputs that it names and `_unmatched`; a `remap` with `reroute_dropped` has `dropped`; all others have one without a name.";
    NothingToRun = Error "E0210", "no source, or no sink",
        "A pipeline needs at least one source and one sink.";
    NoConsumer = Warning "W0211", "a component or an output that nobody reads",
        "The component is left out: nothing reads it. Name it in the `inputs` of something, or remove it.";

    BudgetTooSmall = Error "E0301", "the memory budget cannot hold the plan",
        "Each part of a plan reserves what it must have to make progress, and the sum is more than `memory`. The note lists the parts; raise `memory`, or lower the largest `buffer.max_size`.";
    WindowTooSmall = Error "E0302", "a settle window smaller than the buffers behind it",
        "What the buffers on a path can hold must be able to wait for its settlement, or a slow branch would stop the others. Make the buffers smaller.";
    BadBuffer = Error "E0303", "a buffer that cannot work",
        "A buffer of no records or bytes is always full; one smaller than a record can hold nothing. The message shows which limit to raise.";
    Deadlock = Error "E0304", "a graph that can come to a stop for good",
        "Records could fill a circle of buffers in which each waits for the next. Give one of them a policy other than `block`, or take the circle apart.";
    CannotBuild = Error "E0305", "a plan that cannot be wired",
        "What one of its components said when it was started, or a limit of the runtime: the message says which.";

    BadPath = Error "E0401", "a path that cannot be read or written",
        "The folder is missing, is no folder, or this user may not write to it; or the path is that of a folder, or two sinks write to it. Check the path and its permissions.";
    PortInUse = Error "E0402", "an address that cannot be listened on",
        "Somebody else listens there, or two sources of the file do, perhaps one of them on 0.0.0.0, which is every address; below port 1024 a right is needed. Choose another address or stop the other.";
    BadSetting = Error "E0403", "a setting that the component refuses",
        "A value that the component cannot work with: the message says why, and what to write instead.";
    DoubtfulSetting = Warning "W0404", "a setting that is likely not what was meant",
        "It runs, but the setting has no effect where it stands, or contradicts another. The message says which.";

    Vrl = Error "E0501", "a program that does not compile",
        "The compiler of VRL says what is wrong, at its place in the file. Most often an error of a fallible function is not handled: `parse_json!(...)` aborts, `parse_json(...) ?? {}` has a default.";
    VrlWarning = Warning "W0502", "a program that is likely not what was meant",
        "The compiler of VRL says what is likely a mistake: a result that nobody uses, code that is never reached.";
    BadTest = Error "E0601", "a unit test that cannot be run",
        "A test names a transform that there is not, or has neither inputs nor expectations. The message says which.";
}

/// The page about all codes, in Markdown: an anchor for each, the code in small letters.
#[must_use]
pub fn errors_page() -> String {
    let mut page = String::from(PAGE_HEAD);
    let groups = [
        ("E00", "Reading files"),
        ("E01", "Keys and values"),
        ("E02", "How components are joined"),
        ("E03", "What a plan needs"),
        ("E04", "Settings and surroundings"),
        ("E05", "Programs"),
        ("E06", "Unit tests"),
    ];
    for (start, title) in groups {
        page += &format!("\n## {title}\n");
        for code in Code::ALL.iter().filter(|code| code.as_str()[1..3] == start[1..3]) {
            page += &format!("\n### {code}\n\n**{}.** {}\n", capital(code.title()), code.more());
        }
    }
    page
}

const PAGE_HEAD: &str = "\
# What the messages mean

Each message of `tidegate check`, and of each verb that reads a pipeline file, has a code. `E`: nothing starts. `W`: the
plan runs, but perhaps not as meant. Codes keep their meaning from version to version. `tidegate explain E0101` prints what
stands here about one of them; `--json` gives each message with its code and its place here.

This page is made from the code: `UPDATE=1 cargo test -p tidegate-config --test errors`.
";

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_in_the_crate_page_is_that_of_the_code() {
        let page = include_str!("../lib.rs");
        let row = |code: &Code| format!("//! | `{code}` | {} |", code.title());
        let missing: Vec<_> = Code::ALL.iter().map(row).filter(|row| !page.contains(row.as_str())).collect();
        assert_eq!(missing, Vec::<String>::new());
        assert_eq!(page.matches("//! | `").count(), Code::ALL.len());
    }

    #[test]
    fn codes_are_unique_in_order_and_say_their_severity() {
        for pair in Code::ALL.windows(2) {
            assert!(pair[0].as_str()[1..] < pair[1].as_str()[1..], "{} before {}", pair[0], pair[1]);
        }
        for code in Code::ALL {
            let letter = if code.severity() == Severity::Error { 'E' } else { 'W' };
            assert!(code.as_str().starts_with(letter), "{code}");
        }
    }
}
