//! The pipelines that are played with.

use std::path::Path;

use super::source;

/// Where a pipeline ends.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum End {
    Http,
    File,
    Tcp,
}

/// A pipeline.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) source: source::Kind,
    pub(super) sink: End,
    /// With a buffer on disk.
    pub(super) disk: bool,
    /// When what is in that is written: `always`, or `under_pressure`.
    pub(super) write: &'static str,
}

const fn case(name: &'static str, source: source::Kind, sink: End, disk: bool) -> Case {
    Case { name, source, sink, disk, write: "always" }
}

/// One whose buffer on disk takes only what the sink does not.
const fn spill(name: &'static str, source: source::Kind) -> Case {
    Case { name, source, sink: End::Http, disk: true, write: "under_pressure" }
}

pub(super) const CASES: [Case; 10] = [
    case("http_http_disk", source::Kind::Http, End::Http, true),
    case("http_http_memory", source::Kind::Http, End::Http, false),
    case("file_http_disk", source::Kind::File, End::Http, true),
    case("file_http_memory", source::Kind::File, End::Http, false),
    case("file_file_disk", source::Kind::File, End::File, true),
    case("file_file_memory", source::Kind::File, End::File, false),
    case("tcp_tcp_disk", source::Kind::Tcp, End::Tcp, true),
    case("tcp_tcp_memory", source::Kind::Tcp, End::Tcp, false),
    spill("http_http_spill", source::Kind::Http),
    spill("file_http_spill", source::Kind::File),
];

/// What a pipeline file is made of.
#[derive(Copy, Clone, Debug)]
pub(super) struct Places<'a> {
    /// Where the source listens, or the file that it reads.
    pub(super) from: &'a str,
    /// Where the sink sends, or the file that it writes.
    pub(super) to: &'a str,
    pub(super) data: &'a Path,
    /// One request at a time, so that order is kept.
    pub(super) ordered: bool,
    /// `always`, or `every 5ms`.
    pub(super) fsync: &'a str,
}

impl Case {
    /// Whether everything that is offered is promised to arrive.
    pub(super) fn is_promised(self) -> bool {
        self.source != source::Kind::Tcp
    }

    /// Whether a sink takes one batch after the other, whatever is asked of it.
    pub(super) fn keeps_order(self) -> bool {
        self.sink != End::Http
    }

    /// The pipeline file.
    pub(super) fn text(self, places: &Places<'_>) -> String {
        let Places { from, to, fsync, .. } = places;
        let source = match self.source {
            source::Kind::Http => {
                format!("type: http_server, address: \"{from}\", framing: {{ method: newline_delimited }}")
            }
            source::Kind::File => format!("type: file, include: [\"{from}\"], read_from: beginning"),
            source::Kind::Tcp => format!("type: socket, mode: tcp, address: \"{from}\""),
        };
        let requests = if places.ordered { 1 } else { 4 };
        let sink = match self.sink {
            End::Http => format!(
                "type: http\n    uri: \"http://{to}/\"\n    framing: {{ method: newline_delimited }}\n    \
                 batch: {{ max_events: 500 }}\n    request: {{ concurrency: {requests}, \
                 retry_initial_backoff_secs: 0.1, retry_max_duration_secs: 0.5 }}"
            ),
            End::File => format!("type: file\n    path: \"{to}\""),
            End::Tcp => format!("type: socket\n    mode: tcp\n    address: \"{to}\""),
        };
        let buffer = if self.disk {
            format!("type: disk, max_size: {DISK}, fsync: {fsync}, write: {}", self.write)
        } else {
            "type: memory, max_size: 6MiB".to_owned()
        };
        format!(
            "memory: 64MiB\ndata_dir: \"{}\"\nsources:\n  in: {{ {source} }}\nsinks:\n  out:\n    {sink}\n    \
             inputs: [in]\n    encoding: {{ codec: text }}\n    buffer: {{ {buffer} }}\n",
            places.data.display()
        )
    }
}

/// What a log may take: a few segments, so that they are begun and given up all the time.
const DISK: &str = "6MiB";
