//! Which types there are, and what to say of one that is not.

use tidegate_components::contract::{SinkKind, SourceKind, TransformKind};
use tidegate_components::{SINKS, SOURCES, TRANSFORMS};
use tidegate_flow::StageKind;

use crate::files::Place;
use crate::nearest::nearest;
use crate::problem::{Code, Problem};

/// An entry of one of the three lists.
#[derive(Copy, Clone, Debug)]
pub(super) enum Kind {
    Source(&'static SourceKind),
    Transform(&'static TransformKind),
    Sink(&'static SinkKind),
}

impl Kind {
    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Source(kind) => kind.name,
            Self::Transform(kind) => kind.name,
            Self::Sink(kind) => kind.name,
        }
    }
}

/// The type of this name.
pub(super) fn find(kind: StageKind, name: &str) -> Option<Kind> {
    match kind {
        StageKind::Source => SOURCES.iter().find(|kind| kind.name == name).map(Kind::Source),
        StageKind::Transform => TRANSFORMS.iter().find(|kind| kind.name == name).map(Kind::Transform),
        StageKind::Sink => SINKS.iter().find(|kind| kind.name == name).map(Kind::Sink),
    }
}

/// The names of all types of a kind.
pub(super) fn names(kind: StageKind) -> Vec<&'static str> {
    match kind {
        StageKind::Source => SOURCES.iter().map(|kind| kind.name).collect(),
        StageKind::Transform => TRANSFORMS.iter().map(|kind| kind.name).collect(),
        StageKind::Sink => SINKS.iter().map(|kind| kind.name).collect(),
    }
}

/// Components of Vector that are not here, with what may do instead.
const ELSEWHERE: &[(&str, &str)] = &[
    ("amqp", ""),
    ("apache_metrics", ""),
    ("aws_cloudwatch_logs", ""),
    ("aws_kinesis_firehose", ""),
    ("aws_kinesis_streams", ""),
    ("aws_s3", "sink `file` writes compressed files that can be uploaded"),
    ("aws_sqs", ""),
    ("azure_blob", "sink `file` writes compressed files that can be uploaded"),
    ("clickhouse", "sink `http` can send to its HTTP interface (FORMAT JSONEachRow)"),
    ("datadog_agent", ""),
    ("datadog_logs", "sink `http` can send to its intake"),
    ("docker_logs", "source `file` reads the logs of containers"),
    ("elasticsearch", "sink `http` can send to its bulk interface"),
    ("exec", "run the program and pipe its output into source `stdin`"),
    ("fluent", ""),
    ("gcp_cloud_storage", "sink `file` writes compressed files that can be uploaded"),
    ("gcp_pubsub", ""),
    ("heroku_logs", "source `http_server` takes lines over HTTP"),
    ("host_metrics", ""),
    ("http_client", ""),
    ("humio_logs", "sink `http` can send to it"),
    ("internal_logs", "logs of the program go to standard error"),
    ("journald", "pipe `journalctl -f -o json` into source `stdin`"),
    ("kafka", ""),
    ("kubernetes_logs", "source `file` reads /var/log/pods"),
    ("logstash", ""),
    ("loki", "sink `http` can send to its push interface"),
    ("lua", "transform `remap` is the one language here"),
    ("aggregate", ""),
    ("log_to_metric", ""),
    ("metric_to_log", ""),
    ("mqtt", ""),
    ("nats", ""),
    ("new_relic", "sink `http` can send to it"),
    ("opentelemetry", ""),
    ("papertrail", "sink `socket` can send to it"),
    ("prometheus_exporter", "the program shows its own metrics at /metrics"),
    ("prometheus_remote_write", ""),
    ("prometheus_scrape", ""),
    ("pulsar", ""),
    ("redis", ""),
    ("splunk_hec", ""),
    ("splunk_hec_logs", "sink `http` can send to its collector"),
    ("statsd", ""),
    ("swimlanes", "transform `route` does the same"),
    ("exclusive_route", "transform `route` does nearly the same"),
    ("syslog", "source `socket` takes the lines, and `parse_syslog!` in `remap` reads them"),
    ("tag_cardinality_limit", ""),
    ("vector", "source `http_server` and sink `http` join two processes"),
    ("websocket", ""),
    ("window", ""),
];

/// Names that Vector gave its components earlier.
const RENAMED: &[(&str, &str)] = &[
    ("add_fields", "remap"),
    ("coercer", "remap"),
    ("field_filter", "filter"),
    ("generator", "demo_logs"),
    ("http_listener", "http_server"),
    ("json_parser", "remap"),
    ("logfmt_parser", "remap"),
    ("regex_parser", "remap"),
    ("remove_fields", "remap"),
    ("rename_fields", "remap"),
    ("sampler", "sample"),
    ("stdout", "console"),
    ("tcp", "socket"),
    ("udp", "socket"),
];

/// The problem for a type that the kind does not have.
pub(super) fn unknown(kind: StageKind, name: &str, place: Place) -> Problem {
    let others: Vec<_> = [StageKind::Source, StageKind::Transform, StageKind::Sink]
        .into_iter()
        .filter(|other| *other != kind && find(*other, name).is_some())
        .collect();
    if !others.is_empty() {
        let others: Vec<_> = others.iter().map(ToString::to_string).collect();
        let title = format!("`{name}` is a {}, not a {kind}", others.join(" and a "));
        let sections: Vec<_> = others.iter().map(|other| format!("`{other}s:`")).collect();
        let problem = Problem::new(Code::OtherKind, title).at(place, format!("there is no {kind} of this type"));
        return problem.help(format!("move the component below {}, or use another type", sections.join(" or ")));
    }
    let known = names(kind);
    let all = format!("the types of {kind}s are {}", listed(&known));
    if let Some((_, instead)) = ELSEWHERE.iter().find(|(known, _)| *known == name) {
        let problem = Problem::new(Code::NotYet, format!("the {kind} `{name}` of Vector is not available here"));
        let problem = problem.at(place, "");
        return if instead.is_empty() { problem } else { problem.help(*instead) }.help(all);
    }
    let renamed = RENAMED.iter().find(|(old, _)| *old == name).map(|(_, new)| *new).filter(|new| known.contains(new));
    let problem = Problem::new(Code::UnknownType, format!("there is no {kind} of type `{name}`"));
    match renamed.or_else(|| nearest(name, known.iter().copied())) {
        Some(near) => problem.at(place, format!("did you mean `{near}`?")).help(all).fix(place, near),
        None => problem.at(place, "nobody knows this type").help(all),
    }
}

fn listed(names: &[&str]) -> String {
    let mut names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.sort_unstable();
    names.join(", ")
}
