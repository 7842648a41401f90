//! Rule `machine-paths`: nothing in the repository knows the machine it was written on.

use super::{Report, Rule, Tree};

pub(super) const RULE: Rule = Rule {
    name: "machine-paths",
    refuses: "home and work folders, private host names, and package sources other than crates.io in any file",
    run,
};

/// Folders of one machine. Split, so that this file does not contain them.
const FOLDERS: [&str; 6] = [
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
    concat!("/work", "space/"),
    concat!("C:\\Us", "ers\\"),
];
/// Ends of host names that only resolve inside of one network.
const HOSTS: [&str; 4] = [concat!(".inter", "nal"), concat!(".lo", "cal"), concat!(".la", "n"), concat!(".co", "rp")];
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn run(tree: &Tree, report: &mut Report) {
    for file in &tree.files {
        for (at, line) in file.text.lines().enumerate() {
            if let Some(what) = fault(&file.path, line) {
                report.error(&file.path, at + 1, format!("{what}: use a relative path, an option, or example.com"));
            }
        }
    }
}

fn fault(path: &str, line: &str) -> Option<String> {
    if let Some(folder) = FOLDERS.iter().find(|folder| starts_a_path(line, folder)) {
        return Some(format!("`{folder}` is a folder of one machine"));
    }
    if let Some(host) = private_host(line) {
        return Some(format!("`{host}` is a host of one network"));
    }
    let is_source = path == "Cargo.lock" && line.starts_with("source = ");
    if is_source && !line.contains(CRATES_IO) {
        return Some("this package does not come from crates.io".to_owned());
    }
    let replaces = path.starts_with(".cargo/") && (line.starts_with("[source.") || line.starts_with("[registries."));
    replaces.then(|| "a package source other than crates.io".to_owned())
}

/// Whether the folder stands in the line as the start of a path, not in the middle of one.
fn starts_a_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '*' | '}' | '~' | '>' | '/')))
            || line[..at].ends_with("://")
    })
}

/// A host after `://` or `@` that ends in a private name.
fn private_host(line: &str) -> Option<&str> {
    let starts = line.match_indices("://").map(|(at, _)| at + 3).chain(line.match_indices('@').map(|(at, _)| at + 1));
    for start in starts {
        let rest = &line[start..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '-'))).unwrap_or(rest.len());
        let host = rest[..end].trim_end_matches('.');
        if HOSTS.iter().any(|suffix| host.ends_with(suffix)) {
            return Some(host);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_of;

    fn check(path: &str, line: &str) -> usize {
        findings_of(&RULE, &[(path, line)]).len()
    }

    #[test]
    fn folders_of_a_machine_are_found() {
        for folder in FOLDERS {
            assert_eq!(check("docs/a.md", &format!("see `{folder}x`\n")), 1, "{folder}");
            assert_eq!(check("docs/a.md", &format!("see file://{folder}x\n")), 1, "{folder}");
        }
        let relative = format!("see tests{}x and $HOME/x and /tmp/x\n", FOLDERS[3]);
        assert_eq!(check("docs/a.md", &relative), 0);
    }

    #[test]
    fn private_hosts_are_found() {
        for host in HOSTS {
            assert_eq!(check("docs/a.md", &format!("https://registry{host}/index\n")), 1, "{host}");
            assert_eq!(check("docs/a.md", &format!("git@registry{host}:x\n")), 1, "{host}");
        }
        assert_eq!(check("docs/a.md", "https://search.example.com and http://localhost:80\n"), 0);
    }

    #[test]
    fn packages_come_from_crates_io() {
        assert_eq!(check("Cargo.lock", "source = \"sparse+https://mirror.example.com/\"\n"), 1);
        assert_eq!(check("Cargo.lock", &format!("source = \"{CRATES_IO}\"\n")), 0);
        assert_eq!(check(".cargo/config.toml", "[source.crates-io]\n"), 1);
    }
}
