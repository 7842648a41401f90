//! The entries of the lists: what a component is called, how its configuration is read and described.

use erased_serde::{Deserializer, Error};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;

use super::{SinkConfig, SourceConfig, TransformConfig};

/// A key that Vector knows for this component, and that this one does not. It is taken out before the configuration is
/// read: with a warning where it has no effect here, with an error where a file would mean something else without it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// The key, as a path within the component.
    pub key: &'static str,
    /// Why it is not needed, or what to use instead.
    pub why: &'static str,
}

macro_rules! kind {
    ($(#[$doc:meta])* $kind:ident, $config:ident) => {
        $(#[$doc])*
        #[derive(Copy, Clone)]
        pub struct $kind {
            /// The name in `type`.
            pub name: &'static str,
            /// What it does, in one sentence.
            pub summary: &'static str,
            /// A configuration in YAML that is complete but for `inputs`, as it stands under the name of the component.
            pub example: &'static str,
            /// Keys of Vector without effect.
            pub ignored: &'static [Ignored],
            /// Keys of Vector that a file would mean something else without.
            pub lacking: &'static [Ignored],
            /// The head of its file: see [`Page`](super::Page).
            pub page: &'static str,
            /// The names of its counters beside the ledger, by mode where it has several.
            pub metrics: &'static [&'static str],
            /// The schema of the configuration, without `type`, `inputs` and `buffer`.
            pub schema: fn(&mut SchemaGenerator) -> Schema,
            /// Reads the configuration from a map without `type`, `inputs` and `buffer`.
            pub parse: fn(&mut dyn Deserializer<'_>) -> Result<Box<dyn $config>, Error>,
        }

        impl $kind {
            /// The kind whose configuration is a `C`.
            #[must_use]
            pub const fn of<C>(name: &'static str, summary: &'static str, example: &'static str) -> Self
            where
                C: $config + DeserializeOwned + JsonSchema + 'static,
            {
                Self {
                    name,
                    summary,
                    example,
                    page: "",
                    ignored: &[],
                    lacking: &[],
                    metrics: &[],
                    schema: |generator| generator.root_schema_for::<C>(),
                    parse: |from| Ok(Box::new(erased_serde::deserialize::<C>(from)?)),
                }
            }

            /// With the head of its file.
            #[must_use]
            pub const fn page(mut self, page: &'static str) -> Self {
                self.page = page;
                self
            }

            /// With these counters beside the ledger.
            #[must_use]
            pub const fn counts(mut self, metrics: &'static [&'static str]) -> Self {
                self.metrics = metrics;
                self
            }

            /// With keys of Vector that have no effect here.
            #[must_use]
            pub const fn ignores(mut self, ignored: &'static [Ignored]) -> Self {
                self.ignored = ignored;
                self
            }

            /// With keys of Vector that are not here, and that a file would mean something else without.
            #[must_use]
            pub const fn lacks(mut self, lacking: &'static [Ignored]) -> Self {
                self.lacking = lacking;
                self
            }
        }

        impl std::fmt::Debug for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($kind)).field(&self.name).finish()
            }
        }
    };
}

kind! {
    /// A kind of source.
    SourceKind, SourceConfig
}
kind! {
    /// A kind of transform.
    TransformKind, TransformConfig
}
kind! {
    /// A kind of sink.
    SinkKind, SinkConfig
}
