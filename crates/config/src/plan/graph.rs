//! How components are joined: names, inputs, cycles, and what nobody reads.

use std::collections::HashMap;

use tidegate_flow::StageKind;

use super::component::{Component, Draft, Named};
use super::cycle;
use super::inputs::{fits, is_wildcard};
use crate::files::Place;
use crate::nearest::nearest;
use crate::problem::{Code, Problem, Problems};

/// One input of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Which component it reads: an index into the nodes of the plan.
    pub from: usize,
    /// Which output of it, where it has named ones.
    pub output: Option<String>,
    /// Where it is named.
    pub place: Place,
}

/// The longest name of a component, in bytes.
const LONGEST_NAME: usize = 128;

/// Finds the inputs of every component, and reports what is wrong with the graph. One list for each draft.
/// Where the files are `incomplete`, nothing is said of what seems to be missing.
pub(super) fn resolve(drafts: &[Draft<'_>], incomplete: bool, problems: &mut Problems) -> Vec<Vec<Input>> {
    check_names(drafts, problems);
    let mut missing = Problems::new();
    let outputs = outputs_of(drafts);
    let inputs: Vec<_> =
        (0..drafts.len()).map(|index| Finder { drafts, outputs: &outputs, reader: index }.find(&mut missing)).collect();
    check_kinds(drafts, &mut missing);
    if !incomplete {
        problems.extend(missing);
    }
    for cycle in cycle::cycles(&inputs) {
        problems.push(describe_cycle(drafts, &inputs, &cycle));
    }
    // What is wrong with an input would show here once more.
    if !problems.has_errors() {
        check_consumers(drafts, &outputs, &inputs, problems);
    }
    inputs
}

/// The outputs of a component by which it can be read.
enum Outputs {
    /// By its name, if it is `plain`, and by `name.output`.
    Known { plain: bool, named: Vec<String> },
    /// It could not be read; whatever is asked for is taken to be there.
    Unknown,
    /// It is a sink.
    None,
}

impl Outputs {
    /// Everything that a component of this name can be read by.
    fn names(&self, component: &str) -> Vec<(String, Option<String>)> {
        let one = || (component.to_string(), None);
        match self {
            Self::Known { plain, named } => {
                let named = named.iter().map(|output| (format!("{component}.{output}"), Some(output.clone())));
                plain.then(one).into_iter().chain(named).collect()
            }
            Self::Unknown => vec![one()],
            Self::None => Vec::new(),
        }
    }
}

fn outputs_of(drafts: &[Draft<'_>]) -> Vec<Outputs> {
    let outputs = |draft: &Draft<'_>| match (&draft.component, draft.declared.kind) {
        (_, StageKind::Sink) => Outputs::None,
        (_, StageKind::Source) => Outputs::Known { plain: true, named: Vec::new() },
        (Some(Component::Transform(config)), _) => {
            let named = config.outputs();
            // An output without a name is the plain one.
            let plain = named.is_empty() || named.iter().any(String::is_empty);
            Outputs::Known { plain, named: named.into_iter().filter(|name| !name.is_empty()).collect() }
        }
        _ => Outputs::Unknown,
    };
    drafts.iter().map(outputs).collect()
}

fn check_names(drafts: &[Draft<'_>], problems: &mut Problems) {
    let mut seen: HashMap<&str, &Draft<'_>> = HashMap::new();
    for draft in drafts {
        let name = &draft.declared.name;
        let wrong = |c: char| c == '.' || c == '*' || c == '?' || c == '[' || c.is_whitespace() || c.is_control();
        let why = if name.name.is_empty() {
            Some("a name has at least one character".to_string())
        } else if name.name.len() > LONGEST_NAME {
            Some(format!("a name has at most {LONGEST_NAME} bytes"))
        } else {
            name.name.chars().find(|c| wrong(*c)).map(|c| match c {
                '.' => "a dot in `inputs` stands between a component and its output".to_string(),
                c if c.is_whitespace() || c.is_control() => "a name has no blanks".to_string(),
                c => format!("`{c}` in `inputs` is a wildcard"),
            })
        };
        if let Some(why) = why {
            let title = format!("a {} cannot be called `{}`", draft.declared.kind, name.name);
            let problem = Problem::new(Code::BadName, title).at(name.place, why);
            problems.push(problem.help("use letters, digits, `_` and `-`"));
        }
        if let Some(first) = seen.insert(&name.name, draft) {
            let title = format!("`{}` is a {} and a {}", name.name, first.declared.kind, draft.declared.kind);
            let problem = Problem::new(Code::NameTaken, title).at(name.place, "the second one");
            let problem = problem.at(first.declared.name.place, "the first one");
            problems.push(problem.help("rename one, also where it is named in `inputs`"));
        }
    }
}

fn check_kinds(drafts: &[Draft<'_>], problems: &mut Problems) {
    let place = drafts.first().map(|draft| draft.declared.name.place);
    for (kind, help) in [
        (StageKind::Source, "add one: sources: { in: { type: demo_logs, format: json } }"),
        (StageKind::Sink, "add one: sinks: { out: { type: console, inputs: [...], encoding: { codec: json } } }"),
    ] {
        if drafts.iter().all(|draft| draft.declared.kind != kind) {
            let problem = Problem::new(Code::NothingToRun, format!("the pipeline has no {kind}")).help(help);
            problems.push(match place {
                Some(place) => problem.at(place, "this is all there is to run, from here on"),
                None => problem,
            });
        }
    }
}

/// Finds what one component names in `inputs`.
struct Finder<'a, 'd> {
    drafts: &'d [Draft<'a>],
    outputs: &'d [Outputs],
    reader: usize,
}

impl Finder<'_, '_> {
    fn find(&self, problems: &mut Problems) -> Vec<Input> {
        let mut inputs: Vec<Input> = Vec::new();
        for named in &self.drafts[self.reader].inputs {
            let found = if is_wildcard(named.name) { self.matching(named) } else { self.exact(named) };
            let found = match found {
                Ok(found) => found,
                Err(problem) => {
                    problems.push(*problem);
                    continue;
                }
            };
            for input in found {
                let same = |other: &&Input| (other.from, &other.output) == (input.from, &input.output);
                match inputs.iter().find(same) {
                    Some(first) if !is_wildcard(named.name) => {
                        let title = format!("`{}` is read twice; the second time has no effect", named.name);
                        let problem = Problem::new(Code::RepeatedInput, title).at(input.place, "ignored");
                        problems.push(problem.at(first.place, "the first time").help("remove one"));
                    }
                    Some(_) => {}
                    None => inputs.push(input),
                }
            }
        }
        inputs
    }

    /// Everything that fits a pattern, but the component itself.
    fn matching(&self, named: &Named<'_>) -> Result<Vec<Input>, Box<Problem>> {
        let mut found = Vec::new();
        for (from, draft) in self.drafts.iter().enumerate().filter(|(from, _)| *from != self.reader) {
            let names = self.outputs[from].names(&draft.declared.name.name).into_iter();
            let fitting = names.filter(|(name, _)| fits(named.name, name));
            found.extend(fitting.map(|(_, output)| Input { from, output, place: named.place }));
        }
        if found.is_empty() {
            let title = format!("the wildcard `{}` matches no source and no transform", named.name);
            let problem = Problem::new(Code::EmptyWildcard, title).at(named.place, "");
            return Err(Box::new(problem.help(self.readable())));
        }
        Ok(found)
    }

    fn exact(&self, named: &Named<'_>) -> Result<Vec<Input>, Box<Problem>> {
        let by_name = |name: &str| self.drafts.iter().position(|draft| draft.declared.name.name == name);
        let place = named.place;
        if let Some(from) = by_name(named.name) {
            return match &self.outputs[from] {
                Outputs::Known { plain: true, .. } | Outputs::Unknown => Ok(vec![Input { from, output: None, place }]),
                Outputs::Known { named: outputs, .. } => Err(Box::new(self.needs_output(from, outputs, named))),
                Outputs::None => Err(Box::new(self.is_sink(from, named))),
            };
        }
        let Some((name, output)) = named.name.split_once('.') else { return Err(Box::new(self.unknown(named))) };
        let Some(from) = by_name(name) else { return Err(Box::new(self.unknown(named))) };
        match &self.outputs[from] {
            Outputs::Known { named: outputs, .. } if outputs.iter().any(|known| known == output) => {
                Ok(vec![Input { from, output: Some(output.to_string()), place }])
            }
            Outputs::Known { named: outputs, .. } if outputs.is_empty() => {
                let title = format!("{} has no output `{output}`", self.drafts[from].declared.in_words());
                let problem = Problem::new(Code::UnknownOutput, title).at(place, "");
                Err(Box::new(problem.help(format!("read it by its name: `{name}`")).fix(place, name)))
            }
            Outputs::Known { named: outputs, .. } => Err(Box::new(self.no_output(from, outputs, output, named))),
            Outputs::Unknown => Ok(vec![Input { from, output: Some(output.to_string()), place }]),
            Outputs::None => Err(Box::new(self.is_sink(from, named))),
        }
    }

    fn unknown(&self, named: &Named<'_>) -> Problem {
        let what = self.drafts[self.reader].declared.in_words();
        let title = format!("{what} reads `{}`, which does not exist", named.name);
        let problem = Problem::new(Code::UnknownInput, title);
        let names = self.names();
        match nearest(named.name, names.iter().map(String::as_str)) {
            Some(near) => {
                let problem = problem.at(named.place, format!("did you mean `{near}`?"));
                problem.help(self.readable()).fix(named.place, near)
            }
            None => problem.at(named.place, "no source and no transform has this name").help(self.readable()),
        }
    }

    fn needs_output(&self, from: usize, outputs: &[String], named: &Named<'_>) -> Problem {
        let what = self.drafts[from].declared.in_words();
        let problem = Problem::new(Code::UnknownOutput, format!("{what} is read by one of its outputs"));
        let choices: Vec<_> = outputs.iter().map(|output| format!("`{}.{output}`", named.name)).collect();
        problem.at(named.place, "which output?").help(format!("read {}", choices.join(", ")))
    }

    fn no_output(&self, from: usize, outputs: &[String], output: &str, named: &Named<'_>) -> Problem {
        let draft = &self.drafts[from];
        let name = &draft.declared.name.name;
        let problem =
            Problem::new(Code::UnknownOutput, format!("{} has no output `{output}`", draft.declared.in_words()));
        let problem = match nearest(output, outputs.iter().map(String::as_str)) {
            Some(near) => problem
                .at(named.place, format!("did you mean `{name}.{near}`?"))
                .fix(named.place, format!("{name}.{near}")),
            None => problem.at(named.place, ""),
        };
        problem.help(format!("its outputs are {}", outputs.join(", ")))
    }

    fn is_sink(&self, from: usize, named: &Named<'_>) -> Problem {
        let problem = Problem::new(Code::BadInput, format!("`{}` is a sink; nothing comes out of it", named.name));
        let problem = problem.at(named.place, "").at(self.drafts[from].declared.name.place, "declared here");
        problem.help("read what the sink reads")
    }

    fn names(&self) -> Vec<String> {
        let others = self.drafts.iter().enumerate().filter(|(from, _)| *from != self.reader);
        let names = others.flat_map(|(from, draft)| self.outputs[from].names(&draft.declared.name.name));
        names.map(|(name, _)| name).collect()
    }

    fn readable(&self) -> String {
        let names = self.names();
        if names.is_empty() {
            return "there is nothing that it could read".to_string();
        }
        let more = if names.len() > 12 { ", ..." } else { "" };
        let shown: Vec<_> = names.iter().take(12).map(|name| format!("`{name}`")).collect();
        format!("it could read {}{more}", shown.join(", "))
    }
}

fn describe_cycle(drafts: &[Draft<'_>], inputs: &[Vec<Input>], cycle: &[usize]) -> Problem {
    let name = |index: usize| drafts[index].declared.name.name.as_str();
    let mut path: Vec<_> = cycle.iter().map(|index| name(*index)).collect();
    path.push(name(cycle[0]));
    let title = match cycle {
        [only] => format!("`{}` reads itself", name(*only)),
        _ => format!("components feed each other in a circle: {}", path.join(" -> ")),
    };
    let mut problem = Problem::new(Code::Cycle, title);
    for (at, reader) in cycle.iter().enumerate() {
        let from = cycle[(at + cycle.len() - 1) % cycle.len()];
        if let Some(input) = inputs[*reader].iter().find(|input| input.from == from) {
            problem = problem.at(input.place, format!("`{}` reads `{}`", name(*reader), name(from)));
        }
    }
    problem
        .note("once every buffer on the way round is full, each waits for the next, for good")
        .help("remove one of these inputs")
}

fn check_consumers(drafts: &[Draft<'_>], outputs: &[Outputs], inputs: &[Vec<Input>], problems: &mut Problems) {
    for (index, draft) in drafts.iter().enumerate() {
        let (what, name) = (draft.declared.in_words(), &draft.declared.name.name);
        let place = draft.declared.name.place;
        let read: Vec<_> =
            inputs.iter().flatten().filter(|input| input.from == index).map(|input| &input.output).collect();
        let names = outputs[index].names(name);
        if read.is_empty() && !names.is_empty() {
            let problem = Problem::new(Code::NoConsumer, format!("nobody reads {what}"));
            let problem = problem.at(place, "it is left out of the pipeline");
            problems.push(problem.help(format!("add `{}` to the `inputs` of a transform or sink", names[0].0)));
            continue;
        }
        for (full, output) in names.iter().filter(|(_, output)| !read.contains(&output)) {
            let title = match output {
                Some(output) => format!("nobody reads the output `{output}` of {what}"),
                None => format!("nobody reads {what} by its name, only its other outputs"),
            };
            let problem = Problem::new(Code::NoConsumer, title).at(place, "its records settle as filtered");
            problems.push(problem.help(format!("read `{full}`, or leave it if that is meant")));
        }
    }
}
