//! [`Check`]: where a component reports what cannot work, by key.

use super::context::BuildContext;

/// How far a check goes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The values alone.
    Values,
    /// Also whether files can be opened and ports are free.
    Surroundings,
}

/// How bad a problem is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It runs, but perhaps not as meant.
    Warning,
    /// It cannot run.
    Error,
}

/// What a problem is about. Where problems are shown, each class has a code of its own.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// A value that the component refuses, or that is likely not what was meant.
    #[default]
    Setting,
    /// What this version cannot do; as a warning, what has no effect in it.
    Later,
    /// A path that cannot be read or written.
    Path,
    /// An address, or the path of a socket, that cannot be listened on.
    Address,
    /// A place within a program.
    Program,
}

/// One thing that is wrong with the configuration of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub level: Level,
    /// What it is about.
    pub class: Class,
    /// Which key, as a path within the component: `framing.newline_delimited.max_length`, `include[1]`; empty for the
    /// component itself.
    pub key: String,
    /// Where within the value: a range of bytes of its text, for values that are programs.
    pub within: Option<std::ops::Range<usize>>,
    /// What is wrong.
    pub text: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Problem {
    /// Says what to do about it.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    /// Says what it is about, where that is not a setting.
    pub fn about(&mut self, class: Class) -> &mut Self {
        self.class = class;
        self
    }

    /// Says where within the value it is, in bytes of its text; it is about a program then.
    pub fn within(&mut self, range: std::ops::Range<usize>) -> &mut Self {
        self.class = Class::Program;
        self.within = Some(range);
        self
    }
}

/// Collects problems; all of them, not only the first.
pub struct Check<'a> {
    cx: &'a BuildContext,
    depth: Depth,
    /// The keys that lead to what is being checked, with a dot behind each.
    prefix: String,
    problems: Vec<Problem>,
}

impl<'a> Check<'a> {
    /// Nothing found yet.
    #[must_use]
    pub fn new(cx: &'a BuildContext, depth: Depth) -> Self {
        Self { cx, depth, prefix: String::new(), problems: Vec::new() }
    }

    /// What the component would be built with.
    #[must_use]
    pub fn context(&self) -> &BuildContext {
        self.cx
    }

    /// How far to go.
    #[must_use]
    pub fn depth(&self) -> Depth {
        self.depth
    }

    /// Reports that it cannot run, because of this key.
    pub fn refuse(&mut self, key: &str, text: impl Into<String>) -> &mut Problem {
        self.report(Level::Error, key, text.into())
    }

    /// Reports what is probably not meant.
    pub fn warn(&mut self, key: &str, text: impl Into<String>) -> &mut Problem {
        self.report(Level::Warning, key, text.into())
    }

    /// Checks what is under `key`; the keys reported by `check` are taken to be within it.
    pub fn under(&mut self, key: &str, check: impl FnOnce(&mut Self)) {
        let length = self.prefix.len();
        self.prefix.push_str(key);
        self.prefix.push('.');
        check(self);
        self.prefix.truncate(length);
    }

    /// What was found.
    #[must_use]
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    fn report(&mut self, level: Level, key: &str, text: String) -> &mut Problem {
        let key = format!("{}{key}", self.prefix);
        let key = key.trim_end_matches('.').to_owned();
        let at = self.problems.len();
        let class = Class::default();
        self.problems.push(Problem { level, class, key, within: None, text, help: None });
        &mut self.problems[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_paths_from_the_component() {
        let cx = BuildContext::new("/tmp");
        let mut check = Check::new(&cx, Depth::Values);
        check.refuse("path", "is empty").help("name a file");
        check.under("framing", |at| {
            at.under("newline_delimited", |at| {
                at.warn("max_length", "is large");
            });
            at.refuse("", "is odd");
        });
        let problems = check.into_problems();
        let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["path", "framing.newline_delimited.max_length", "framing"]);
        assert_eq!(problems[0].help.as_deref(), Some("name a file"));
        assert!(problems[1].level < problems[2].level);
    }
}
