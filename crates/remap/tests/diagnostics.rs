//! Compile errors and warnings as data: code, words, and the bytes to underline.

use tidegate_remap::{Diagnostic, MISSING, NESTING_MAX, Options, Program, SOURCE_MAX_BYTES, Severity};

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
