//! From the text of pipeline files to a checked plan, and from the plan to a wired pipeline.
//!
//! ```text
//! files --load--> tree --interpolate--> tree --plan--> Plan --wire--> Pipeline
//!                   \______________ problems, with places ______________/
//! ```
//!
//! Nothing stops at the first mistake: each step goes on with what it understood, and [`Problems`] collects what is
//! wrong in all files, each with its code, the places to underline and the likely fix. What follows from another mistake
//! is not said. Values from the environment are taken for secrets and appear in no message.
//!
//! ```
//! use tidegate_components::contract::{BuildContext, Depth};
//! use tidegate_config::load::{Given, load_texts};
//! use tidegate_config::problem::{Look, render};
//! use tidegate_config::tree::Format;
//!
//! let text = "sources: { in: { type: demo_logs, format: json } }\nsinks: { out: { type: blackhole, inputs: [inn] } }\n";
//! let given = Given { name: "pipeline.yaml", format: Format::Yaml, text };
//! let loaded = load_texts(&[given], &|_| None);
//! let planned = tidegate_config::plan(loaded, &BuildContext::new("data"), Depth::Values);
//! assert!(planned.plan.is_none());
//! let messages = render(&planned.files, &planned.problems, Look::default());
//! assert!(messages.contains("error[E0201]: sink `out` reads `inn`, which does not exist"), "{messages}");
//! assert!(messages.contains("did you mean `in`?"), "{messages}");
//! ```
//!
//! # Codes
//!
//! `E`: nothing starts. `W`: the plan runs. Codes keep their meaning from version to version.
//!
//! | code | what it is about |
//! |---|---|
//! | `E0001` | a file or directory cannot be read |
//! | `E0002` | a file is not UTF-8 |
//! | `E0003` | a file is too large, or there are too many |
//! | `E0004` | the text is not YAML |
//! | `E0005` | the text is not TOML |
//! | `E0006` | the text is not JSON |
//! | `E0007` | a key stands twice in the same table |
//! | `E0008` | the text nests too deep, or its aliases expand to too much |
//! | `E0009` | YAML that has no meaning here: several documents, tags, keys that are no text |
//! | `E0010` | the name of a file says neither YAML, TOML nor JSON |
//! | `E0012` | a variable of the environment is not set |
//! | `E0013` | a reference to a variable that has no end or no name |
//! | `E0014` | two files define the same name or set the same key |
//! | `W0015` | `$NAME` without braces stays as it is |
//! | `E0101` | a key that nobody knows |
//! | `E0102` | a value of another type than the key takes |
//! | `E0103` | a key that must be there is missing |
//! | `E0104` | a value of the right type that makes no sense |
//! | `E0105` | a word that is none of those that the key takes |
//! | `E0106` | a component type that does not exist |
//! | `E0107` | a component type of another kind |
//! | `W0108` | a key of Vector that has no effect here |
//! | `E0109` | something that this version cannot do yet |
//! | `W0110` | a setting that has no effect in this version |
//! | `E0201` | an input that does not exist |
//! | `E0202` | an input that gives no records |
//! | `E0203` | a transform or sink without inputs |
//! | `E0204` | a wildcard that matches nothing |
//! | `E0205` | components that feed each other in a circle |
//! | `E0206` | a component name that cannot be used |
//! | `E0207` | two components of the same name |
//! | `W0208` | the same input twice |
//! | `E0209` | an output that the component does not have |
//! | `E0210` | no source, or no sink |
//! | `W0211` | a component or an output that nobody reads |
//! | `E0301` | the memory budget cannot hold the plan |
//! | `E0302` | a settle window smaller than the buffers behind it |
//! | `E0303` | a buffer that cannot work |
//! | `E0304` | a graph that can come to a stop for good |
//! | `E0305` | a plan that cannot be wired |
//! | `E0401` | a path that cannot be read or written |
//! | `E0402` | an address that cannot be listened on |
//! | `E0403` | a setting that the component refuses |
//! | `W0404` | a setting that is likely not what was meant |
//! | `E0501` | a program that does not compile |
//! | `W0502` | a program that is likely not what was meant |
//! | `E0601` | a unit test that cannot be run |

pub mod files;
pub mod interpolate;
pub mod load;
pub mod nearest;
pub mod problem;
pub mod read;
pub mod tree;

pub mod cases;
pub mod document;
pub mod plan;
pub mod wire;

pub mod diff;
pub mod explain;
pub mod picture;
pub mod reference;
pub mod replay;
pub mod schema;
pub mod swap;
pub mod words;

pub use files::{FileId, Files, Place, Position};
pub use load::{Loaded, load};
pub use plan::{Plan, PlanNode, Planned, plan};
pub use problem::{Code, Problem, Problems, Severity};
