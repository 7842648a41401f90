//! The codes of problems: stable names of classes of mistakes, for people to look up and for tools to match.

use std::fmt;

use super::Severity;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $severity:ident $text:literal, $title:literal;)*) => {
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

            /// Whether problems of this class keep a plan from running.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }
        }
    };
}

codes! {
    Unreadable = Error "E0001", "a file or directory cannot be read";
    NotUtf8 = Error "E0002", "a file is not UTF-8";
    TooLarge = Error "E0003", "a file is too large, or there are too many";
    YamlSyntax = Error "E0004", "the text is not YAML";
    TomlSyntax = Error "E0005", "the text is not TOML";
    JsonSyntax = Error "E0006", "the text is not JSON";
    DuplicateKey = Error "E0007", "a key stands twice in the same table";
    TooDeep = Error "E0008", "the text nests too deep, or its aliases expand to too much";
    UnsupportedYaml = Error "E0009", "YAML that has no meaning here: several documents, tags, keys that are no text";
    UnknownFormat = Error "E0010", "the name of a file says neither YAML, TOML nor JSON";
    UnsetVariable = Error "E0012", "a variable of the environment is not set";
    BadReference = Error "E0013", "a reference to a variable that has no end or no name";
    DefinedTwice = Error "E0014", "two files define the same name or set the same key";
    BareVariable = Warning "W0015", "`$NAME` without braces stays as it is";

    UnknownKey = Error "E0101", "a key that nobody knows";
    WrongType = Error "E0102", "a value of another type than the key takes";
    MissingKey = Error "E0103", "a key that must be there is missing";
    InvalidValue = Error "E0104", "a value of the right type that makes no sense";
    UnknownValue = Error "E0105", "a word that is none of those that the key takes";
    UnknownType = Error "E0106", "a component type that does not exist";
    OtherKind = Error "E0107", "a component type of another kind";
    WithoutEffect = Warning "W0108", "a key of Vector that has no effect here";
    NotYet = Error "E0109", "something that this version cannot do yet";

    UnknownInput = Error "E0201", "an input that does not exist";
    BadInput = Error "E0202", "an input that gives no records";
    NoInputs = Error "E0203", "a transform or sink without inputs";
    EmptyWildcard = Error "E0204", "a wildcard that matches nothing";
    Cycle = Error "E0205", "components that feed each other in a circle";
    BadName = Error "E0206", "a component name that cannot be used";
    NameTaken = Error "E0207", "two components of the same name";
    RepeatedInput = Warning "W0208", "the same input twice";
    UnknownOutput = Error "E0209", "an output that the component does not have";
    NothingToRun = Error "E0210", "no source, or no sink";
    NoConsumer = Warning "W0211", "a component or an output that nobody reads";

    BudgetTooSmall = Error "E0301", "the memory budget cannot hold the plan";
    WindowTooSmall = Error "E0302", "a settle window smaller than the buffers behind it";
    BadBuffer = Error "E0303", "a buffer that cannot work";
    Deadlock = Error "E0304", "a graph that can come to a stop for good";
    CannotBuild = Error "E0305", "a plan that cannot be wired";

    BadPath = Error "E0401", "a path that cannot be read or written";
    PortInUse = Error "E0402", "an address that cannot be listened on";
    BadSetting = Error "E0403", "a setting that the component refuses";
    DoubtfulSetting = Warning "W0404", "a setting that is likely not what was meant";

    Vrl = Error "E0501", "a program that does not compile";
    VrlWarning = Warning "W0502", "a program that is likely not what was meant";
    BadTest = Error "E0601", "a unit test that cannot be run";
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
