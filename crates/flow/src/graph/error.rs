//! Why a graph is refused: where, why, and what to do about it.

use super::StageKind;
use crate::units::Weight;
use std::fmt;

/// A stage as people know it: its kind and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameOf {
    /// Source, transform or sink.
    pub kind: StageKind,
    /// Its name.
    pub name: String,
}

impl fmt::Display for NameOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"{}\"", self.kind, self.name)
    }
}

/// Why two branches that meet again can deadlock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// This stage on the first branch may give out fewer records than it took.
    Drops(String),
    /// This edge on the first branch may lose records when it is full.
    Loses(String),
    /// The records are divided between the branches, and nothing says that each gets its turn.
    Routes,
    /// The branches hold different amounts, first and second, so the smaller one can be full while the larger one
    /// still holds its records back.
    Windows(Weight, Weight),
}

/// What is wrong with a graph. The text of each says where it is and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GraphError {
    /// An input that nothing fills.
    UnconnectedInput {
        /// The stage that has it.
        stage: NameOf,
        /// What the stage calls it.
        port: String,
    },
    /// An output that nothing empties.
    UnusedOutput {
        /// The stage that has it.
        stage: NameOf,
        /// What the stage calls it.
        port: String,
    },
    /// A transform or a sink without an input.
    NoInput(NameOf),
    /// A source or a transform without an output.
    NoOutput(NameOf),
    /// An edge that no stage fills.
    NoProducer(String),
    /// An edge that no stage empties.
    NoConsumer(String),
    /// An edge that can hold no record or no byte.
    EmptyWindow {
        /// The edge.
        edge: String,
        /// What it was given.
        window: Weight,
    },
    /// Several outputs, and nothing says whether each gets every record.
    UndecidedFanOut {
        /// The stage.
        stage: NameOf,
        /// The edges that it fills.
        edges: Vec<String>,
    },
    /// Two stages, or two edges, of one name.
    DuplicateName {
        /// `stage` or `edge`.
        what: &'static str,
        /// The name.
        name: String,
        /// How many bear it.
        count: usize,
        /// A name that is free.
        suggestion: String,
    },
    /// A loop that was not declared.
    UndeclaredCycle {
        /// The stages in order, the first one again at the end.
        cycle: Vec<String>,
        /// The edge that closes it, back to the first stage.
        closing: String,
    },
    /// A declared loop whose feedback edge blocks.
    BlockingLoop {
        /// The feedback edge.
        edge: String,
        /// The stages in order, the first one again at the end.
        cycle: Vec<String>,
    },
    /// An edge that diverts to an edge that is not in the graph.
    DivertNowhere(String),
    /// Edges that divert to each other in a ring, or an edge to itself; the first one again at the end.
    DivertRing(Vec<String>),
    /// What an edge diverts comes back to a stage that fills it.
    DivertLoop {
        /// The edge that diverts.
        edge: String,
        /// Where to.
        to: String,
        /// The stages from a producer of `edge` back to it.
        cycle: Vec<String>,
    },
    /// A fork, or a route, whose branches meet again in a stage that needs all of them.
    Diamond {
        /// Where the branches part.
        fork: String,
        /// Where they meet.
        join: String,
        /// The branch that may hold back, as stages.
        held: Vec<String>,
        /// The branch that fills up meanwhile, as stages; every edge of it blocks.
        full: Vec<String>,
        /// Why it may happen.
        conflict: Conflict,
    },
}

impl std::error::Error for GraphError {}

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnconnectedInput { stage, port } => {
                write!(f, "{stage}: input \"{port}\" is connected to nothing; connect an edge to it, or remove it")
            }
            Self::UnusedOutput { stage, port } => write!(
                f,
                "{stage}: output \"{port}\" is connected to nothing; connect an edge to it, or say that its records are \
                 to be discarded"
            ),
            Self::NoInput(stage) => write!(f, "{stage} has no input; connect a source or a transform to it"),
            Self::NoOutput(stage) => write!(f, "{stage} has no output; connect a transform or a sink to it"),
            Self::NoProducer(edge) => write!(f, "edge \"{edge}\": no stage fills it; connect one, or remove the edge"),
            Self::NoConsumer(edge) => {
                write!(f, "edge \"{edge}\": no stage empties it; connect one, or remove the edge")
            }
            Self::EmptyWindow { edge, window } => {
                write!(f, "edge \"{edge}\": a window of {window} holds nothing; give it at least 1 record and 1 B")
            }
            Self::UndecidedFanOut { stage, edges } => write!(
                f,
                "{stage} has {} outputs ({}) and does not say what goes where; make it a fork (each gets every record) \
                 or a route (each record goes to one)",
                edges.len(),
                quoted(edges)
            ),
            Self::DuplicateName { what, name, count, suggestion } => write!(
                f,
                "{count} {what}s are called \"{name}\"; every {what} needs a name of its own: rename one, for example \
                 to \"{suggestion}\""
            ),
            Self::DivertNowhere(edge) => write!(
                f,
                "edge \"{edge}\" diverts to an edge that is not in the plan; name one that is, or use another policy"
            ),
            Self::UndeclaredCycle { .. }
            | Self::BlockingLoop { .. }
            | Self::DivertRing(_)
            | Self::DivertLoop { .. }
            | Self::Diamond { .. } => self.fmt_loop(f),
        }
    }
}

impl GraphError {
    /// The text of the errors that are about a way round.
    fn fmt_loop(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UndeclaredCycle { cycle, closing } => write!(
                f,
                "the stages form a loop: {}; a loop fills up and stops unless it is planned: remove edge \"{closing}\", \
                 or declare it as feedback with a policy other than block",
                arrows(cycle)
            ),
            Self::BlockingLoop { edge, cycle } => write!(
                f,
                "feedback edge \"{edge}\" blocks when it is full, so the loop {} can wait for itself forever; let it \
                 shed, fail or divert, or give it separate credit per hop",
                arrows(cycle)
            ),
            Self::DivertRing(edges) => write!(
                f,
                "edges divert to each other in a ring: {}; when all are full a batch has nowhere to go: give one of \
                 them another policy",
                arrows(edges)
            ),
            Self::DivertLoop { edge, to, cycle } => write!(
                f,
                "edge \"{edge}\" diverts to \"{to}\", whose records come back to it: {}; divert to an edge that leads \
                 out, or declare \"{to}\" as feedback with a policy other than block",
                arrows(cycle)
            ),
            Self::Diamond { .. } => self.fmt_diamond(f),
            Self::UnconnectedInput { .. }
            | Self::UnusedOutput { .. }
            | Self::NoInput(_)
            | Self::NoOutput(_)
            | Self::NoProducer(_)
            | Self::NoConsumer(_)
            | Self::EmptyWindow { .. }
            | Self::UndecidedFanOut { .. }
            | Self::DuplicateName { .. }
            | Self::DivertNowhere(_) => Ok(()),
        }
    }

    fn fmt_diamond(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Diamond { fork, join, held, full, conflict } = self else { return Ok(()) };
        let (held, full) = (arrows(held), arrows(full));
        write!(f, "the branches {held} and {full} meet in \"{join}\", which needs both, and can deadlock: ")?;
        match conflict {
            Conflict::Drops(stage) => write!(f, "\"{stage}\" may drop records, and while \"{join}\" waits for them")?,
            Conflict::Loses(edge) => {
                write!(f, "edge \"{edge}\" may lose records when it is full, and while \"{join}\" waits for them")?;
            }
            Conflict::Routes => write!(
                f,
                "\"{fork}\" divides the records between them, and while \"{join}\" waits for one of the first branch"
            )?,
            Conflict::Windows(first, second) => {
                write!(f, "the first can hold {first}, the second {second}, and while the first holds records back")?
            }
        }
        write!(f, " the second fills up and blocks \"{fork}\"; ")?;
        if let Conflict::Windows(..) = conflict {
            write!(f, "give both branches the same window in all, ")?;
        } else {
            write!(f, "let the first pass every record on, ")?;
        }
        write!(f, "or let an edge of each branch shed or fail when full")
    }
}

/// `a -> b -> c`
fn arrows(names: &[String]) -> String {
    names.join(" -> ")
}

/// `"a", "b"`
fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}
