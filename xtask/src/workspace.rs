//! What cargo knows about this workspace: where it is, its members, what they depend on.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::shell::{self, Fail};

/// The workspace as `cargo metadata` tells it.
pub(crate) struct Workspace {
    /// The folder of the top `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Where cargo builds.
    pub(crate) target: PathBuf,
    /// The members, by folder.
    pub(crate) members: Vec<Member>,
}

/// One member of the workspace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Member {
    /// The package's name, `tidegate-flow`.
    pub(crate) package: String,
    /// Its folder from the root, `crates/flow`.
    pub(crate) folder: String,
    /// What its manifest depends on.
    pub(crate) dependencies: Vec<Dependency>,
    /// Its targets as (kind, name), `("bench", "core")`.
    pub(crate) targets: Vec<(String, String)>,
}

impl Member {
    /// The crate's short name, which is the last part of its folder: `flow`.
    pub(crate) fn short(&self) -> &str {
        self.folder.rsplit('/').next().unwrap_or(&self.folder)
    }
}

/// When a dependency is there.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum DependencyKind {
    /// For everyone who uses the crate.
    Normal,
    /// For its tests, examples and benches.
    Dev,
    /// For its build script.
    Build,
}

/// One line of a `[dependencies]` table.
#[derive(Clone, Debug)]
pub(crate) struct Dependency {
    /// The package's name.
    pub(crate) package: String,
    /// When it is there.
    pub(crate) kind: DependencyKind,
    /// The `cfg(...)` under which it is there, if any.
    pub(crate) target: Option<String>,
    /// Whether it is a path inside this repository.
    pub(crate) is_local: bool,
}

impl Workspace {
    /// Reads the workspace that contains the current folder.
    pub(crate) fn load() -> Result<Self, Fail> {
        let text = shell::capture(shell::cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
        let json: Value =
            serde_json::from_str(&text).map_err(|error| Fail::red(format!("cargo metadata is not JSON: {error}")))?;
        Self::from_metadata(&json).ok_or_else(|| Fail::red("cargo metadata lacks a field that this tool reads"))
    }

    fn from_metadata(json: &Value) -> Option<Self> {
        let root = PathBuf::from(json.get("workspace_root")?.as_str()?);
        let target = PathBuf::from(json.get("target_directory")?.as_str()?);
        let packages = json.get("packages")?.as_array()?;
        let mut members: Vec<Member> = packages.iter().map(|package| member(&root, package)).collect::<Option<_>>()?;
        members.sort_by(|left, right| left.folder.cmp(&right.folder));
        Some(Self { root, target, members })
    }

    /// The member whose package has this name.
    pub(crate) fn member(&self, package: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.package == package)
    }

    /// Whether the package has a target of this kind and name.
    pub(crate) fn has_target(&self, package: &str, kind: &str, name: &str) -> bool {
        self.member(package).is_some_and(|member| member.targets.iter().any(|(k, n)| k == kind && n == name))
    }
}

fn member(root: &Path, package: &Value) -> Option<Member> {
    let manifest = Path::new(package.get("manifest_path")?.as_str()?);
    let folder = manifest.parent()?.strip_prefix(root).ok()?.to_string_lossy().replace('\\', "/");
    let dependencies = package.get("dependencies")?.as_array()?.iter().map(dependency).collect::<Option<_>>()?;
    let mut targets = Vec::new();
    for target in package.get("targets")?.as_array()? {
        let name = target.get("name")?.as_str()?;
        for kind in target.get("kind")?.as_array()? {
            targets.push((kind.as_str()?.to_owned(), name.to_owned()));
        }
    }
    Some(Member { package: package.get("name")?.as_str()?.to_owned(), folder, dependencies, targets })
}

fn dependency(json: &Value) -> Option<Dependency> {
    let kind = match json.get("kind").and_then(Value::as_str) {
        Some("dev") => DependencyKind::Dev,
        Some("build") => DependencyKind::Build,
        _ => DependencyKind::Normal,
    };
    Some(Dependency {
        package: json.get("name")?.as_str()?.to_owned(),
        kind,
        target: json.get("target").and_then(Value::as_str).map(str::to_owned),
        is_local: json.get("path").is_some_and(Value::is_string),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_workspace_is_read() {
        let workspace = Workspace::load().unwrap();
        let flow = workspace.member("tidegate-flow").unwrap();
        assert_eq!(flow.short(), "flow");
        assert!(flow.dependencies.iter().any(|d| d.package == "proptest" && d.kind == DependencyKind::Dev));
        assert!(flow.dependencies.iter().any(|d| d.target.as_deref() == Some("cfg(tidegate_loom)")));
        assert!(workspace.has_target("xtask", "bin", "xtask"));
        assert!(!workspace.has_target("xtask", "bench", "xtask"));
    }
}
