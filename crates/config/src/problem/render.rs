//! Problems as people read them: file, line, the text underlined, what helps.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, normalize_untrusted_str};

use super::{Problem, Problems, Severity};
use crate::files::{FileId, Files, clamp};

/// How messages look.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub struct Look {
    /// With the colours of a terminal.
    pub colour: bool,
    /// Columns to write in; 0 for the default, 140.
    pub width: usize,
}

/// Every problem, by file and place, and a last line that counts them. Empty where there is none.
#[must_use]
pub fn render(files: &Files, problems: &Problems, look: Look) -> String {
    let renderer = if look.colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = if look.width == 0 { renderer } else { renderer.term_width(look.width) };
    let mut out = String::new();
    for problem in problems.sorted() {
        out.push_str(&renderer.render(&[group(files, problem)]));
        out.push_str("\n\n");
    }
    if let Some(count) = counted(problems) {
        out.push_str(&count);
        out.push('\n');
    }
    out
}

fn group<'a>(files: &'a Files, problem: &'a Problem) -> Group<'a> {
    let level = match problem.severity() {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(normalize_untrusted_str(&problem.title)).id(problem.code.as_str());
    let mut group = Group::with_title(title);
    let mut shown: Vec<FileId> = Vec::new();
    for label in &problem.labels {
        let file = label.place.file;
        if !shown.contains(&file) {
            shown.push(file);
            group = group.element(snippet(files, problem, file));
        }
    }
    let notes = problem.notes.iter().map(|text| Level::NOTE.message(normalize_untrusted_str(text)));
    let helps = problem.helps.iter().map(|text| Level::HELP.message(normalize_untrusted_str(text)));
    group.elements(notes).elements(helps)
}

/// The lines of one file that the problem is about.
fn snippet<'a>(files: &'a Files, problem: &'a Problem, file: FileId) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let text = &files.get(file).text;
    let mut snippet = Snippet::source(text.as_str()).path(files.get(file).name.as_str());
    for (index, label) in problem.labels.iter().enumerate().filter(|(_, label)| label.place.file == file) {
        let kind = if index == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
        let said = (!label.text.is_empty()).then(|| normalize_untrusted_str(&label.text));
        snippet = snippet.annotation(kind.span(clamp(text, first_line(text, label.place.range()))).label(said));
    }
    snippet
}

/// A range that covers several lines is underlined on its first one, so that no message fills a screen.
fn first_line(text: &str, range: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let range = clamp(text, range);
    let line = text[range.clone()].lines().next().unwrap_or_default();
    range.start..range.start + line.trim_end().len()
}

fn counted(problems: &Problems) -> Option<String> {
    let plural = |count: usize, word: &str| match count {
        0 => None,
        1 => Some(format!("1 {word}")),
        _ => Some(format!("{count} {word}s")),
    };
    let errors = plural(problems.count(Severity::Error), "error");
    let warnings = plural(problems.count(Severity::Warning), "warning");
    let beyond = plural(problems.beyond(), "further problem");
    let parts: Vec<_> = [errors, warnings, beyond].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}
