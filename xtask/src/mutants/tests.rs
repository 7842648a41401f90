//! The runner judged by mutants whose verdicts are known, in a small crate of its own.

use super::*;

const SOURCE: &str = "\
//! A fixture.
pub fn next(x: u32) -> u32 {
    x + 1
}
pub fn idle(x: u32) -> u32 {
    x + 2
}
#[test]
fn next_is_one_more() {
    assert_eq!(next(1), 2);
}
#[test]
fn always_red() {
    assert_eq!(idle(1), 7);
}
";

const MANIFEST: &str = "[package]\nname = \"fixture\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n";

fn mutant(name: &str, find: &str, replace: &str, test: &str) -> String {
    format!(
        "[[mutant]]\nname = '{name}'\nbreaks = 'nothing'\nfile = 'src/lib.rs'\nfind = '{find}'\nreplace = '{replace}'\n\
         package = 'fixture'\ntest = '{test}'\n"
    )
}

#[test]
fn each_verdict_is_reached() {
    let folder = std::env::temp_dir().join(format!("xtask-mutants-{}", std::process::id()));
    let root = folder.join("fixture");
    std::fs::create_dir_all(root.join("src")).unwrap();
    std::fs::write(root.join("Cargo.toml"), MANIFEST).unwrap();
    std::fs::write(root.join("src/lib.rs"), SOURCE).unwrap();
    let table = [
        mutant("caught", "x + 1", "x + 3", "next_is_one_more"),
        mutant("survived", "x + 2", "x + 3", "next_is_one_more"),
        mutant("no-such-test", "x + 1", "x + 3", "next_is_two_more"),
        mutant("red-before", "x + 1", "x + 3", "always_red"),
        mutant("does-not-compile", "x + 1", "y", "next_is_one_more"),
        mutant("ambiguous", "u32", "u64", "next_is_one_more"),
        mutant("hangs", "x + 1", "loop { std::hint::spin_loop() }", "next_is_one_more") + "timeout_secs = 1\n",
    ];
    let mutants = table::parse(&table.concat()).unwrap();
    let mut bench = Bench::new(&root, &folder.join("out")).unwrap();
    let too_late = bench.judge_all(&mutants, Some(Instant::now()));
    let verdicts = bench.judge_all(&mutants, None);
    let restored = std::fs::read_to_string(folder.join("out/src/src/lib.rs")).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();

    assert_eq!(too_late.unwrap(), [], "none begins when the time is over");
    let verdicts = verdicts.unwrap();
    assert_eq!(verdicts[0], Verdict::Caught);
    assert_eq!(verdicts[1], Verdict::Survived);
    let faults = ["no test is selected", "fails without the bug", "does not compile", "must be unique"];
    for (verdict, fault) in verdicts[2..6].iter().zip(faults) {
        assert!(matches!(verdict, Verdict::Faulty(why) if why.contains(fault)), "{verdict:?}");
    }
    assert_eq!(verdicts[6], Verdict::CaughtByTime);
    assert_eq!(restored, SOURCE, "the scratch copy is sound again");
    assert!(conclude(&mutants[..1], &verdicts[..1]).is_ok());
    assert!(matches!(conclude(&mutants, &verdicts), Err(Fail::Red(text)) if text.starts_with("5 of 7")));
}

#[test]
fn a_file_that_is_gone_leaves_the_copy() {
    let folder = std::env::temp_dir().join(format!("xtask-scratch-{}", std::process::id()));
    let root = folder.join("from");
    std::fs::create_dir_all(root.join("src")).unwrap();
    std::fs::write(root.join("src/a.rs"), "a").unwrap();
    std::fs::write(root.join("src/b.rs"), "b").unwrap();
    let to = folder.join("to");
    Scratch::sync(&root, &to).unwrap();
    std::fs::remove_file(root.join("src/b.rs")).unwrap();
    Scratch::sync(&root, &to).unwrap();
    let left = (to.join("src/a.rs").exists(), to.join("src/b.rs").exists());
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(left, (true, false));
}
