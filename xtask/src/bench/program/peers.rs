//! What else does the job: programs of the distribution with the same task, where they are installed. Nothing is
//! installed for a run.

use std::process::{Command, Stdio};

use super::parts::{Middle, free_address, kept_of, text, wait_for_listener};
use super::{Bench, Outcome};
use crate::process::Child;
use crate::shell::Fail;

/// A program that can take the place of ours between TCP and TCP.
pub(super) struct Peer {
    name: &'static str,
    program: &'static str,
    /// Its configuration: where it listens, where it sends to, a folder for its files.
    configuration: fn(at: &str, to: &str, scratch: &str) -> String,
    arguments: fn(file: &str, scratch: &str) -> Vec<String>,
}

pub(super) const RSYSLOG: Peer = Peer {
    name: "rsyslog",
    program: "rsyslogd",
    configuration: |at, to, scratch| {
        let ((_, from_port), (host, to_port)) = (host_port(at), host_port(to));
        format!(
            "global(workDirectory=\"{scratch}\" maxMessageSize=\"64k\")\n\
             module(load=\"imtcp\")\nmodule(load=\"mmjsonparse\")\n\
             template(name=\"line\" type=\"string\" string=\"%$!all-json-plain%\\n\")\n\
             ruleset(name=\"edge\") {{\n  action(type=\"mmjsonparse\" cookie=\"\" useRawMsg=\"on\")\n  \
             set $!pipeline = \"edge\";\n  if $!level != \"debug\" then {{\n    action(type=\"omfwd\" target=\"{host}\" \
             port=\"{to_port}\" protocol=\"tcp\" template=\"line\")\n  }}\n}}\n\
             input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{from_port}\" ruleset=\"edge\")\n"
        )
    },
    arguments: |file, scratch| ["-n", "-f", file, "-i", &format!("{scratch}/rsyslog.pid")].map(str::to_owned).to_vec(),
};

pub(super) const SYSLOG_NG: Peer = Peer {
    name: "syslog-ng",
    program: "syslog-ng",
    configuration: |at, to, _| {
        let ((_, from_port), (host, to_port)) = (host_port(at), host_port(to));
        format!(
            "@version: 3.38\n\
             source in {{ network(ip(\"127.0.0.1\") port({from_port}) transport(\"tcp\") flags(no-parse)); }};\n\
             parser parse {{ json-parser(prefix(\".edge.\")); }};\n\
             rewrite add {{ set(\"edge\" value(\".edge.pipeline\")); }};\n\
             filter keep {{ \"${{.edge.level}}\" ne \"debug\" }};\n\
             destination out {{ network(\"{host}\" port({to_port}) transport(\"tcp\") \
             template(\"$(format-json .edge.* --rekey .edge.* --shift-levels 2)\\n\")); }};\n\
             log {{ source(in); parser(parse); rewrite(add); filter(keep); destination(out); flags(flow-control); }};\n"
        )
    },
    arguments: |file, scratch| {
        let own = |name: &str| format!("{scratch}/syslog-ng.{name}");
        let (persist, control, pid) = (own("persist"), own("control"), own("pid"));
        ["-F", "--no-caps", "-f", file, "-R", &persist, "-c", &control, "-p", &pid].map(str::to_owned).to_vec()
    },
};

impl Bench {
    /// The job of `remap_tcp`, done by a peer. A quarter of the records, because they are slower.
    pub(super) fn peer(&self, peer: &Peer) -> Result<Outcome, Fail> {
        let version = Command::new(peer.program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if version.is_err() {
            return Ok(Outcome::Absent(format!("{} is not installed", peer.name)));
        }
        let records = (self.records / 4).max(1);
        self.tcp(records, kept_of(records), |to| {
            let at = free_address()?;
            let scratch = text(&self.scratch);
            let file = self.write(&format!("{}.conf", peer.name), &(peer.configuration)(&at, to, &scratch))?;
            let mut command = Command::new(peer.program);
            command.args((peer.arguments)(&text(&file), &scratch));
            let child = Child::start(&mut command)?;
            wait_for_listener(&at)?;
            Ok(Middle { child, at })
        })
    }
}

fn host_port(address: &str) -> (&str, &str) {
    address.rsplit_once(':').unwrap_or((address, "0"))
}
