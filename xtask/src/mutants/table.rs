//! The table of planted bugs, `xtask/mutants.toml`.

use toml::{Table, Value};

/// Where the table is.
pub(crate) const PATH: &str = "xtask/mutants.toml";
const TIMEOUT_SECS: u64 = 180;
const KEYS: [&str; 10] =
    ["name", "breaks", "file", "find", "replace", "package", "test", "command", "loom", "timeout_secs"];

/// One planted bug, and the test that must catch it.
#[derive(Clone, Debug)]
pub(crate) struct Mutant {
    /// Its name, for `--only` and the report.
    pub(crate) name: String,
    /// The invariant that it breaks: `A4`, or words.
    pub(crate) breaks: String,
    /// The file in which it is planted.
    pub(crate) file: String,
    find: String,
    replace: String,
    /// The package whose tests are built.
    pub(crate) package: String,
    /// The filter that selects the test.
    pub(crate) test: String,
    /// A command to run in place of `cargo test -p <package> <test>`; red must mean "caught".
    pub(crate) command: Option<Vec<String>>,
    /// Whether the test is a model check, built with `--cfg tidegate_loom`.
    pub(crate) loom: bool,
    /// A run that takes longer is stopped and counts as caught: the bug made the test hang.
    pub(crate) timeout_secs: u64,
}

impl Mutant {
    /// The text of the file with the bug planted.
    pub(crate) fn apply(&self, text: &str) -> Result<String, String> {
        match text.matches(&self.find).count() {
            0 => Err("the `find` text is not in the file".to_owned()),
            1 => Ok(text.replacen(&self.find, &self.replace, 1)),
            n => Err(format!("the `find` text stands {n} times in the file; it must be unique")),
        }
    }
}

/// Reads the table; an error names the entry and the key.
pub(crate) fn parse(text: &str) -> Result<Vec<Mutant>, String> {
    let document: Table = text.parse().map_err(|error| format!("not TOML: {error}"))?;
    if let Some(key) = document.keys().find(|key| *key != "mutant") {
        return Err(format!("unknown key `{key}`; the table is a list of [[mutant]]"));
    }
    let entries = document.get("mutant").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut mutants: Vec<Mutant> = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let mutant = parse_entry(entry).map_err(|error| format!("mutant {} of the table: {error}", at + 1))?;
        if mutants.iter().any(|other| other.name == mutant.name) {
            return Err(format!("two mutants are named `{}`", mutant.name));
        }
        mutants.push(mutant);
    }
    Ok(mutants)
}

fn parse_entry(entry: &Value) -> Result<Mutant, String> {
    let table = entry.as_table().ok_or("is not a table")?;
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("unknown key `{key}`; the keys are {}", KEYS.join(", ")));
    }
    let text = |key: &str| match table.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(format!("`{key}` must be a string")),
        None => Err(format!("`{key}` is missing")),
    };
    let mutant = Mutant {
        name: text("name")?,
        breaks: text("breaks")?,
        file: text("file")?,
        find: text("find")?,
        replace: text("replace")?,
        package: text("package")?,
        test: text("test")?,
        command: table.get("command").map(strings).transpose()?,
        loom: table.get("loom").and_then(Value::as_bool).unwrap_or(false),
        timeout_secs: match table.get("timeout_secs") {
            None => TIMEOUT_SECS,
            Some(value) => {
                value.as_integer().and_then(|n| u64::try_from(n).ok()).ok_or("`timeout_secs` must be a number")?
            }
        },
    };
    if mutant.find.is_empty() || mutant.find == mutant.replace {
        return Err("`find` must not be empty and must differ from `replace`".to_owned());
    }
    Ok(mutant)
}

fn strings(value: &Value) -> Result<Vec<String>, String> {
    let items = value.as_array().filter(|items| !items.is_empty()).ok_or("`command` must be a list of strings")?;
    items
        .iter()
        .map(|item| item.as_str().map(str::to_owned).ok_or_else(|| "`command` must hold strings".to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
[[mutant]]
name = 'a'
breaks = 'A1'
file = 'src/a.rs'
find = 'x + 1'
replace = 'x'
package = 'p'
test = 't'
";

    #[test]
    fn a_good_entry_is_read_with_its_defaults() {
        let mutants = parse(GOOD).unwrap();
        assert_eq!((mutants[0].loom, mutants[0].timeout_secs), (false, TIMEOUT_SECS));
        assert_eq!(mutants[0].apply("(x + 1)").unwrap(), "(x)");
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn each_fault_is_named() {
        let error = |text: &str| parse(text).unwrap_err();
        assert!(error(&GOOD.replace("test = 't'\n", "")).contains("`test` is missing"));
        assert!(error(&GOOD.replace("test", "tset")).contains("unknown key `tset`"));
        assert!(error(&GOOD.replace("'p'", "7")).contains("`package` must be a string"));
        assert!(error(&GOOD.replace("'x'", "'x + 1'")).contains("must differ"));
        assert!(error(&format!("{GOOD}{GOOD}")).contains("two mutants are named `a`"));
        assert!(error("[mutants]").contains("unknown key `mutants`"));
        assert!(error(&format!("{GOOD}command = 'x'")).contains("list of strings"));
    }
}
