//! [`Tree`]: the text files of the repository, read once, and the Rust sources among them, parsed once.

use std::path::Path;
use std::process::Command;

use super::Source;
use crate::shell::{self, Fail};
use crate::workspace::Member;

/// Files larger than this are data, not text that people wrote.
const MAX_TEXT_BYTES: u64 = 1024 * 1024;

/// A text file: its path from the root with `/`, and what it says.
#[derive(Debug)]
pub(crate) struct TextFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Everything that the rules look at.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// All text files, sources included.
    pub(crate) files: Vec<TextFile>,
    /// The Rust sources.
    pub(crate) sources: Vec<Source>,
    /// What cargo says about the members; empty where a test does not need it.
    pub(crate) members: Vec<Member>,
}

impl Tree {
    /// Reads what git tracks or would add under `root`; without git, everything but `target` and hidden folders.
    pub(crate) fn read(root: &Path) -> Result<Self, Fail> {
        let mut files = Vec::new();
        for path in paths(root)? {
            let full = root.join(&path);
            let is_text_sized = full.metadata().is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_TEXT_BYTES);
            // What is not UTF-8 is not text; a listed file that is gone was deleted and not yet staged.
            if is_text_sized && let Ok(text) = std::fs::read_to_string(&full) {
                files.push(TextFile { path, text });
            }
        }
        Ok(Self::of(files))
    }

    /// The same tree with what cargo says about the members.
    pub(crate) fn with_members(mut self, members: Vec<Member>) -> Self {
        self.members = members;
        self
    }

    fn of(files: Vec<TextFile>) -> Self {
        let rust = files.iter().filter(|file| file.path.ends_with(".rs"));
        let mut sources: Vec<Source> = rust.map(|file| Source::parse(&file.path, &file.text)).collect();
        mark_test_modules(&mut sources);
        Self { files, sources, members: Vec::new() }
    }

    /// A tree made of these (path, text) pairs.
    #[cfg(test)]
    pub(crate) fn fake(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| TextFile { path: (*path).to_owned(), text: (*text).to_owned() };
        Self::of(files.iter().map(file).collect())
    }

    /// The text of the file at this path.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }
}

/// The paths of the files, sorted.
pub(crate) fn paths(root: &Path) -> Result<Vec<String>, Fail> {
    let mut found = if root.join(".git").exists() {
        let mut git = Command::new("git");
        git.current_dir(root).args(["ls-files", "--cached", "--others", "--exclude-standard"]);
        shell::capture(&mut git)?.lines().map(str::to_owned).collect()
    } else {
        let mut found = Vec::new();
        walk(root, "", &mut found).map_err(|error| Fail::red(format!("cannot list {}: {error}", root.display())))?;
        found
    };
    found.sort();
    found.dedup();
    Ok(found)
}

fn walk(folder: &Path, prefix: &str, found: &mut Vec<String>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let hidden = name.starts_with('.') && !matches!(name.as_str(), ".cargo" | ".ci" | ".gitignore");
        if hidden || path == "target" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), &format!("{path}/"), found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// A file behind `#[cfg(test)] mod name;` is test code, and so is everything below it.
fn mark_test_modules(sources: &mut [Source]) {
    let mut test_modules = Vec::new();
    for source in sources.iter() {
        let folder = source.module_folder();
        for name in source.test_module_names() {
            test_modules.push(format!("{folder}/{name}"));
        }
    }
    for source in sources {
        let is_below =
            |module: &String| source.path == format!("{module}.rs") || source.path.starts_with(&format!("{module}/"));
        if test_modules.iter().any(is_below) {
            source.make_test();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::Place;

    #[test]
    fn a_file_behind_a_test_module_is_test_code() {
        let tree = Tree::fake(&[
            ("crates/flow/src/edge.rs", "//! x\n#[cfg(test)]\nmod model;\nmod real;\n"),
            ("crates/flow/src/edge/model.rs", "//! x\n"),
            ("crates/flow/src/edge/model/deep.rs", "//! x\n"),
            ("crates/flow/src/edge/real.rs", "//! x\n"),
        ]);
        let places: Vec<Place> = tree.sources.iter().map(|source| source.place).collect();
        assert_eq!(places, [Place::Library, Place::Test, Place::Test, Place::Library]);
    }

    #[test]
    fn without_git_the_folder_is_walked() {
        let root = std::env::temp_dir().join(format!("xtask-tree-{}", std::process::id()));
        for folder in ["src", "target/debug", ".git-not"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in ["src/lib.rs", "target/debug/x.rs", ".git-not/y.rs", "Cargo.toml"] {
            std::fs::write(root.join(file), "").unwrap();
        }
        let found = paths(&root);
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(found.unwrap(), ["Cargo.toml", "src/lib.rs"]);
    }
}
