//! Compile errors and warnings as data: code, words, and the bytes to underline.

use tidegate_record::{Path, Rows};
use tidegate_remap::{
    CHAIN_MAX, Diagnostic, MISSING, NESTING_MAX, Options, PATH_MAX, Program, SOURCE_MAX_BYTES, Severity, Verdict,
    Verdicts,
};

fn errors(source: &str) -> Vec<Diagnostic> {
    match Program::compile(source, &Options::default()) {
        Ok(_) => panic!("it compiles: {source}"),
        Err(errors) => errors,
    }
}

#[test]
fn an_error_has_its_code_its_place_and_a_way_out() {
    let source = ".a = 1\n.b = parse_json(.message)\n";
    let errors = errors(source);
    let error = &errors[0];
    assert_eq!((error.code, error.severity), (103, Severity::Error), "{error}");
    assert_eq!(&source[error.range.clone()], "parse_json(.message)", "{error}");
    assert!(error.message.contains("unhandled fallible assignment"), "{error}");
    let way_out = error.labels.iter().find(|label| label.message.contains("`parse_json!(.message)`"));
    assert_eq!(way_out.map(|label| &source[label.range.clone()]), Some("parse_json(.message)"), "{error}");
    assert!(error.notes.iter().any(|note| note.contains("https://errors.vrl.dev")), "{error}");
    assert!(error.notes.iter().all(|note| !note.contains("REPL")), "{error}");
}

#[test]
fn all_errors_of_a_source_are_reported() {
    let source = ".a = upcas(\"x\")\n.b = downcas(\"x\")";
    let errors = errors(source);
    let blamed: Vec<_> = errors.iter().map(|error| &source[error.range.clone()]).collect();
    assert_eq!(blamed, ["upcas", "downcas"], "{errors:?}");
    assert!(errors[0].labels.iter().any(|label| label.message.contains("did you mean \"upcase\"")), "{errors:?}");
}

#[test]
fn a_function_of_vector_that_is_not_here_is_said_to_be_missing() {
    for missing in MISSING {
        let errors = errors(&format!(".a = {}!(\"é\")", missing.name));
        let told: Vec<_> = errors.iter().flat_map(|error| &error.notes).collect();
        assert!(
            told.iter().any(|note| note.contains("of Vector is not in this program")),
            "{}: {told:?}",
            missing.name
        );
    }
}

#[test]
fn ranges_lie_within_the_source_on_characters() {
    for source in ["é", ".é = ", "\"é", ".a = {", "}", ".a = \"é\" + ", "", "if", "¬", ".a = 'é", ".a = r'('", "{{{é"]
    {
        let Err(errors) = Program::compile(source, &Options::default()) else { continue };
        assert!(!errors.is_empty(), "{source:?}");
        for error in errors {
            assert!(source.get(error.range.clone()).is_some(), "{source:?}: {error}");
            assert!(error.labels.iter().all(|label| source.get(label.range.clone()).is_some()), "{source:?}: {error}");
            assert!(!error.message.contains('\n') && !error.message.is_empty(), "{error}");
        }
    }
}

#[test]
fn warnings_do_not_keep_a_program_from_running() {
    let source = "upcase(\"x\")\n.a = 1";
    let compiled = Program::compile(source, &Options::default()).unwrap();
    let warning = &compiled.warnings[0];
    assert_eq!(warning.severity, Severity::Warning);
    assert_eq!(&source[warning.range.clone()], "upcase(\"x\")", "{warning}");
}

#[test]
fn a_source_beyond_its_limits_is_refused_in_words() {
    let long = errors(&format!(".a = \"{}\"", "x".repeat(SOURCE_MAX_BYTES)));
    assert!(long[0].message.contains("at most"), "{}", long[0].message);
    let deep = NESTING_MAX + 1;
    let nested = errors(&format!(".a = {}1{}", "[".repeat(deep), "]".repeat(deep)));
    assert!(nested[0].message.contains("nested"), "{}", nested[0].message);
    let fits = format!(".a = {}1{}", "[".repeat(NESTING_MAX), "]".repeat(NESTING_MAX));
    assert!(Program::compile(&fits, &Options::default()).is_ok());
}

/// Each of these once exhausted the stack, or the memory, of the compiler.
#[test]
fn what_would_exhaust_the_compiler_is_refused_at_its_place() {
    let many = |text: &str| text.repeat(20_000);
    for (source, word) in [
        (format!(".x = 1{}", many(" + 1")), "operators"),
        (format!(".x = {}true", many("!")), "operators"),
        (many(".x = ") + "1", "operators"),
        (format!("if .a == 1 {{ .b = 1 }}{}", many(" else if .a == 2 { .b = 2 }")), "operators"),
        (format!(".x = \"{}\"", many("{{ a }}")), "operators"),
        (format!("{} = 1", many(".a")), "segments"),
        (format!(".a{} = 1", many("[0]")), "segments"),
        (".a[1000000000] = 1".to_owned(), "index"),
        (".a.b[-1000000000].c = 1".to_owned(), "index"),
    ] {
        let found = errors(&source);
        assert!(found[0].message.contains(word), "{}", found[0].message);
        assert!(found[0].range.end <= source.len() && found[0].range.len() == 1, "{:?}", found[0].range);
    }
}

#[test]
fn the_longest_that_is_allowed_compiles_and_runs_on_a_thread_of_any_kind() {
    for source in [
        format!(".x = 1{}", " + 1".repeat(CHAIN_MAX - 1)),
        format!(".x = .a == 1{}", " || .a == 1".repeat(CHAIN_MAX / 2 - 1)),
        format!(".x = {}true", "!".repeat(CHAIN_MAX - 1)),
        ".x = ".repeat(CHAIN_MAX) + "1",
        format!("if .a == 1 {{ .b = 1 }}{}", " else if .a == 2 { .b = 2 }".repeat(CHAIN_MAX / 2 - 1)),
        format!(".a{} = 1", "[0]".repeat(PATH_MAX - 1)),
        format!("{} = 1", ".a".repeat(PATH_MAX)),
    ] {
        let mut program = Program::compile(&source, &Options::default()).unwrap().program;
        let mut rows = Rows::from_texts(["{\"a\":5}"]);
        let mut verdicts = Verdicts::default();
        program.run_in_vrl(&mut rows, &mut verdicts);
        assert_eq!(verdicts.of(0), &Verdict::Kept, "{source}");
    }
}

#[test]
fn an_index_out_of_a_record_cannot_make_it_any_size() {
    let source = ". = parse_json!(.message)\n.x = set!([], [to_int!(.at)], true)";
    let mut program = Program::compile(source, &Options::default()).unwrap().program;
    let mut rows = Rows::from_texts(["{\"at\":2}", "{\"at\":3000000000}", "{\"at\":-3000000000}"]);
    let mut verdicts = Verdicts::default();
    program.run(&mut rows, &mut verdicts);
    assert_eq!(rows.row(0).get(&Path::field("x")).as_deref(), Some(&b"[null,null,true]"[..]));
    for number in [1, 2] {
        assert!(
            matches!(verdicts.of(number), Verdict::Failed(why) if why.contains("index")),
            "{:?}",
            verdicts.of(number)
        );
    }
}
