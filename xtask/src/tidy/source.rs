//! [`Source`]: one Rust file as the rules see it: its tokens (comments and strings gone), its functions, and which of
//! its lines are test code.
//!
//! Rules look at tokens rather than at text, so that a banned name in a comment or a string is no violation, and
//! rather than at the syntax tree, so that a call inside a macro is one.

use std::ops::RangeInclusive;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, ImplItemFn, Item, ItemFn, Meta, TraitItemFn};

/// What kind of code a file holds.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Code that users link.
    Library,
    /// A program: it may print.
    Binary,
    /// Only built for tests.
    Test,
    /// A benchmark.
    Bench,
    /// An example.
    Example,
}

/// One token, flattened out of its groups.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
    pub(crate) is_test: bool,
}

/// A function with a body.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// From its signature to its closing brace; attributes and docs do not count.
    pub(crate) lines: RangeInclusive<usize>,
    /// The attributes as tokens without spaces, `tokio::test(start_paused=true)`.
    pub(crate) attributes: Vec<String>,
}

/// A Rust file.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    /// The crate's short name: `flow`, `xtask`; empty outside of a crate.
    pub(crate) krate: String,
    pub(crate) place: Place,
    pub(crate) tokens: Vec<Token>,
    pub(crate) functions: Vec<Function>,
    /// Number of lines.
    pub(crate) lines: usize,
    /// Whether the file opens with `//!` docs (or `#![doc = ...]`).
    pub(crate) has_docs: bool,
    /// Why the file could not be parsed.
    pub(crate) error: Option<String>,
    /// Names that the file defines, with their lines.
    pub(crate) definitions: Vec<(String, usize)>,
    test_lines: Vec<RangeInclusive<usize>>,
    test_modules: Vec<String>,
}

impl Source {
    /// Parses the file; what cannot be parsed has no tokens and an error.
    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let mut source = Self {
            path: path.to_owned(),
            krate: crate_of(path).to_owned(),
            place: place_of(path),
            tokens: Vec::new(),
            functions: Vec::new(),
            lines: text.lines().count(),
            has_docs: false,
            error: None,
            definitions: Vec::new(),
            test_lines: Vec::new(),
            test_modules: Vec::new(),
        };
        match syn::parse_file(text) {
            Ok(file) => source.fill(text, &file),
            Err(error) => source.error = Some(format!("line {}: {error}", error.span().start().line)),
        }
        source
    }

    fn fill(&mut self, text: &str, file: &syn::File) {
        let mut outline = Outline::default();
        outline.visit_file(file);
        self.functions = outline.functions;
        self.definitions = outline.definitions;
        self.test_lines = outline.test_lines;
        self.test_modules = outline.test_modules;
        self.has_docs = file.attrs.iter().any(|attr| attr.path().is_ident("doc"));
        if file.attrs.iter().any(is_test_attribute) {
            self.place = Place::Test;
        }
        // Parsed once by syn, so this cannot fail; a shebang would be the exception, and there is none.
        if let Ok(stream) = text.parse::<TokenStream>() {
            flatten(stream, &mut self.tokens);
        }
        let everything = self.place == Place::Test;
        for at in 0..self.tokens.len() {
            let line = self.tokens[at].line;
            self.tokens[at].is_test = everything || self.is_test_line(line);
        }
    }

    /// Marks the whole file as test code.
    pub(crate) fn make_test(&mut self) {
        self.place = Place::Test;
        for token in &mut self.tokens {
            token.is_test = true;
        }
    }

    /// Whether this line is inside `#[cfg(test)]` or `#[test]`, or the whole file is test code.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.place == Place::Test || self.test_lines.iter().any(|range| range.contains(&line))
    }

    /// Lines that are not test code.
    pub(crate) fn lines_without_tests(&self) -> usize {
        (1..=self.lines).filter(|line| !self.is_test_line(*line)).count()
    }

    /// The folder in which this file's child modules lie.
    pub(crate) fn module_folder(&self) -> String {
        let (folder, name) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        match name {
            "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
            other => format!("{folder}/{}", other.trim_end_matches(".rs")),
        }
    }

    /// The modules that are declared here as files and only built for tests.
    pub(crate) fn test_module_names(&self) -> impl Iterator<Item = &str> {
        self.test_modules.iter().map(String::as_str)
    }

    /// The positions at which this sequence of tokens starts. `::` is one token.
    pub(crate) fn finds<'a>(&'a self, pattern: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
        let matches = move |window: &[Token]| window.iter().zip(pattern).all(|(token, text)| token.text == **text);
        self.tokens.windows(pattern.len()).enumerate().filter_map(move |(at, window)| matches(window).then_some(at))
    }
}

fn crate_of(path: &str) -> &str {
    let mut parts = path.split('/');
    match parts.next() {
        Some("crates") => parts.next().unwrap_or_default(),
        Some("xtask") => "xtask",
        _ => "",
    }
}

fn place_of(path: &str) -> Place {
    let parts: Vec<&str> = path.split('/').collect();
    let file = parts.last().copied().unwrap_or_default();
    if parts.contains(&"tests") || file == "tests.rs" || parts.first() == Some(&"fuzz") {
        Place::Test
    } else if parts.contains(&"benches") {
        Place::Bench
    } else if parts.contains(&"examples") {
        Place::Example
    } else if file == "main.rs"
        || (file == "build.rs" && !parts.contains(&"src"))
        || parts.contains(&"bin")
        || parts.contains(&"cli")
        || parts.first() == Some(&"xtask")
    {
        Place::Binary
    } else {
        Place::Library
    }
}

fn flatten(stream: TokenStream, into: &mut Vec<Token>) {
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        let line = tree.span().start().line;
        let mut push = |text: &str, line| into.push(Token { text: text.to_owned(), line, is_test: false });
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                push(open, line);
                flatten(group.stream(), into);
                let line = group.span_close().start().line;
                into.push(Token { text: close.to_owned(), line, is_test: false });
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' && punct.spacing() == Spacing::Joint => {
                let is_path = matches!(trees.peek(), Some(TokenTree::Punct(next)) if next.as_char() == ':');
                if is_path {
                    trees.next();
                }
                push(if is_path { "::" } else { ":" }, line);
            }
            TokenTree::Punct(punct) => push(&punct.as_char().to_string(), line),
            TokenTree::Ident(ident) => push(&ident.to_string(), line),
            // The text of a literal is data; only that there is one matters.
            TokenTree::Literal(_) => push("\"\"", line),
        }
    }
}

/// Collects from the syntax tree what tokens do not tell.
#[derive(Default)]
struct Outline {
    functions: Vec<Function>,
    definitions: Vec<(String, usize)>,
    test_lines: Vec<RangeInclusive<usize>>,
    test_modules: Vec<String>,
}

impl Outline {
    fn define(&mut self, ident: &syn::Ident) {
        self.definitions.push((ident.to_string(), ident.span().start().line));
    }

    fn function(&mut self, attributes: &[Attribute], signature: &syn::Signature, block: &syn::Block) {
        let lines = signature.span().start().line..=block.brace_token.span.close().end().line;
        let attributes = attributes.iter().map(attribute_text).collect();
        self.functions.push(Function { name: signature.ident.to_string(), lines, attributes });
    }

    fn mark_test(&mut self, attributes: &[Attribute], whole: proc_macro2::Span) {
        if attributes.iter().any(is_test_attribute) {
            self.test_lines.push(whole.start().line..=whole.end().line);
        }
    }
}

impl<'ast> Visit<'ast> for Outline {
    fn visit_item(&mut self, item: &'ast Item) {
        self.mark_test(attributes_of(item), item.span());
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.define(&module.ident);
        if module.content.is_none() && module.attrs.iter().any(is_test_attribute) {
            self.test_modules.push(module.ident.to_string());
        }
        visit::visit_item_mod(self, module);
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        if let ImplItem::Fn(function) = item {
            self.mark_test(&function.attrs, item.span());
        }
        visit::visit_impl_item(self, item);
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.define(&item.sig.ident);
        self.function(&item.attrs, &item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.define(&item.sig.ident);
        self.function(&item.attrs, &item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        self.define(&item.sig.ident);
        if let Some(block) = &item.default {
            self.function(&item.attrs, &item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.define(&item.ident);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.define(&item.ident);
        visit::visit_item_enum(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.define(&item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.define(&variant.ident);
        visit::visit_variant(self, variant);
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if let Some(ident) = &field.ident {
            self.define(ident);
        }
        visit::visit_field(self, field);
    }
}

fn attributes_of(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// `#[test]`, `#[tokio::test]`, `#[cfg(test)]`, `#[cfg(all(test, ...))]`; not `#[cfg(not(test))]`.
fn is_test_attribute(attribute: &Attribute) -> bool {
    if attribute.path().segments.last().is_some_and(|segment| segment.ident == "test") {
        return true;
    }
    let text = attribute_text(attribute);
    text.starts_with("cfg(") && names_test(&text)
}

fn names_test(text: &str) -> bool {
    let words: Vec<&str> = text.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
    words.windows(2).any(|pair| pair[1] == "test" && pair[0] != "not")
}

fn attribute_text(attribute: &Attribute) -> String {
    let path: Vec<String> = attribute.path().segments.iter().map(|segment| segment.ident.to_string()).collect();
    let mut text = path.join("::");
    if let Meta::List(list) = &attribute.meta {
        let inner: String = list.tokens.to_string().chars().filter(|c| !c.is_whitespace()).collect();
        text.push_str(&format!("({inner})"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
//! Docs.
use std::fmt;
/// Docs with a banned_word in them.
fn first() { /* banned_word */ say!(\"banned_word\", x.inner()); }
#[cfg(not(test))]
fn second() {}
#[cfg(all(test, tidegate_loom))]
mod checks {
    fn third() {}
}
#[tokio::test(start_paused = true)]
async fn fourth() {}
";

    #[test]
    fn tokens_leave_out_comments_and_strings_but_see_into_macros() {
        let source = Source::parse("crates/flow/src/a.rs", TEXT);
        assert_eq!(source.finds(&["banned_word"]).count(), 0);
        assert_eq!(source.finds(&[".", "inner", "("]).count(), 1);
        assert_eq!(source.finds(&["std", "::", "fmt"]).count(), 1);
    }

    #[test]
    fn test_code_is_told_from_the_rest() {
        let source = Source::parse("crates/flow/src/a.rs", TEXT);
        let line_of = |name: &str| source.tokens[source.finds(&["fn", name]).next().unwrap()].line;
        let is_test: Vec<bool> =
            ["first", "second", "third", "fourth"].iter().map(|name| source.is_test_line(line_of(name))).collect();
        assert_eq!(is_test, [false, false, true, true]);
        assert_eq!(source.lines_without_tests(), 6);
        assert_eq!(source.functions[3].attributes, ["tokio::test(start_paused=true)"]);
    }

    #[test]
    fn places_follow_from_paths() {
        let place = |path| Source::parse(path, "//! x").place;
        assert_eq!(place("crates/flow/src/edge.rs"), Place::Library);
        assert_eq!(place("crates/flow/src/edge/tests.rs"), Place::Test);
        assert_eq!(place("crates/flow/tests/laws.rs"), Place::Test);
        assert_eq!(place("fuzz/bodies/framing.rs"), Place::Test);
        assert_eq!(place("crates/tidegate/examples/a.rs"), Place::Example);
        assert_eq!(place("crates/tidegate/benches/core/main.rs"), Place::Bench);
        assert_eq!(place("crates/tidegate/src/main.rs"), Place::Binary);
        assert_eq!(place("crates/tidegate/build.rs"), Place::Binary);
        assert_eq!(place("crates/runtime/src/build.rs"), Place::Library, "a module, no build script");
        assert_eq!(place("xtask/src/tidy/mod.rs"), Place::Binary);
    }

    #[test]
    fn what_cannot_be_parsed_has_an_error() {
        assert!(Source::parse("crates/flow/src/a.rs", "fn (").error.is_some());
    }
}
