//! Which functions of VRL are here, and what to say about those of Vector that are not.
//!
//! Here is the whole standard library of the `vrl` crate but the functions that use the network. A program that waits
//! for a name server or a remote inside of a transform would hold up every record behind it with nothing to show for
//! it, so they are left out on purpose. Vector adds functions of its own (enrichment tables, secrets, its metrics)
//! that need parts of Vector; they are not here either. [`MISSING`] lists all of them. `set` has a limit of its own.

mod set;

use std::sync::LazyLock;

use vrl::compiler::Function;

use set::BoundedSet;

/// A function that programs written for Vector may call and that is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its name.
    pub name: &'static str,
    /// Why it is not here, and what to do instead.
    pub why: &'static str,
}

const NETWORK: &str =
    "it waits for the network in the middle of a transform, which would hold up every record behind it";
const ENRICHMENT: &str = "there are no enrichment tables here";
const SECRETS: &str = "records carry no secrets here";
const MEANING: &str = "there is no schema that meanings belong to here; the call can be removed";

/// The functions of Vector that are not here.
pub const MISSING: &[Missing] = &[
    Missing { name: "dns_lookup", why: NETWORK },
    Missing { name: "reverse_dns", why: NETWORK },
    Missing { name: "http_request", why: NETWORK },
    Missing { name: "get_enrichment_table_record", why: ENRICHMENT },
    Missing { name: "find_enrichment_table_records", why: ENRICHMENT },
    Missing { name: "get_secret", why: SECRETS },
    Missing { name: "set_secret", why: SECRETS },
    Missing { name: "remove_secret", why: SECRETS },
    Missing { name: "set_semantic_meaning", why: MEANING },
    Missing { name: "parse_dnstap", why: "the dnstap source is not here" },
    Missing { name: "get_vector_metric", why: "use the metrics endpoint of this program" },
    Missing { name: "find_vector_metrics", why: "use the metrics endpoint of this program" },
    Missing { name: "aggregate_vector_metrics", why: "use the metrics endpoint of this program" },
];

static ALL: LazyLock<Vec<Box<dyn Function>>> = LazyLock::new(|| {
    let mut all = vrl::stdlib::all();
    all.retain(|function| function.identifier() != BoundedSet.identifier());
    all.push(Box::new(BoundedSet));
    all
});

/// The functions that programs may call.
pub(crate) fn all() -> &'static [Box<dyn Function>] {
    &ALL
}

/// The names of the functions that programs may call, in no order.
pub fn names() -> impl Iterator<Item = &'static str> {
    all().iter().map(|function| function.identifier())
}

/// The note for a call of a function of Vector that is not here; `blamed` is the part of the source to blame.
pub(crate) fn absence(blamed: &str) -> Option<String> {
    let missing = MISSING.iter().find(|missing| missing.name == blamed)?;
    Some(format!("`{}` of Vector is not in this program: {}", missing.name, missing.why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_missing_and_the_rest_is_there() {
        let here: Vec<_> = names().collect();
        for missing in MISSING {
            assert!(!here.contains(&missing.name), "{} is here", missing.name);
        }
        for name in ["parse_json", "parse_regex", "sha2", "get_env_var", "get_hostname", "uuid_v7", "parse_syslog"] {
            assert!(here.contains(&name), "{name} is not here");
        }
    }
}
