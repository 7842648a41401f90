//! What two components cannot have both: an address, a file to write, the standard input.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tidegate_flow::StageKind;

use super::component::Draft;
use super::keys;
use crate::files::Place;
use crate::problem::{Code, Problem, Problems};
use crate::tree::Node;

/// What a source listens on, or a sink writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// An address, for connections.
    Stream(SocketAddr),
    /// An address, for packets.
    Packets(SocketAddr),
    /// The path of a unix socket.
    Socket(String),
    /// The standard input.
    Stdin,
    /// A file that is written, or all that a template stands for.
    File(String),
}

impl Claim {
    /// Whether both cannot be had.
    pub(crate) fn clashes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Stream(a), Self::Stream(b)) | (Self::Packets(a), Self::Packets(b)) => overlap(*a, *b),
            (a, b) => a == b,
        }
    }

    fn in_words(&self) -> String {
        match self {
            Self::Stream(address) | Self::Packets(address) => address.to_string(),
            Self::Socket(path) | Self::File(path) => path.clone(),
            Self::Stdin => "the standard input".to_owned(),
        }
    }
}

/// Whether nobody can listen on one address while somebody listens on the other. An address of zeros is all that the
/// machine has; that of IPv6 those of IPv4 as well.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |all: IpAddr, one: IpAddr| match all {
        IpAddr::V4(all) => all == Ipv4Addr::UNSPECIFIED && one.is_ipv4(),
        IpAddr::V6(all) => all == Ipv6Addr::UNSPECIFIED,
    };
    // Port 0 is a free one each time.
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || covers(a.ip(), b.ip()) || covers(b.ip(), a.ip()))
}

/// What a component claims, and where that stands.
pub(crate) fn claim(kind: StageKind, type_name: &str, tree: &Node) -> Option<(Claim, Option<Place>)> {
    let text = |key| match keys::find(tree, key) {
        (Some(node), true) => node.as_text().filter(|text| !text.broken).map(|text| (text.string.clone(), node.place)),
        _ => None,
    };
    match (kind, type_name) {
        (StageKind::Source, "stdin") => Some((Claim::Stdin, None)),
        (StageKind::Source, _) => {
            let mode = text("mode").map(|(mode, _)| mode).unwrap_or_default();
            if mode.starts_with("unix") {
                return text("path").map(|(path, place)| (Claim::Socket(path), Some(place)));
            }
            let (address, place) = text("address")?;
            let address = address.parse().ok()?;
            Some((if mode == "udp" { Claim::Packets(address) } else { Claim::Stream(address) }, Some(place)))
        }
        // What is no file (/dev/stdout, a pipe) is written by as many as like.
        (StageKind::Sink, "file" | "dead_letters") => text("path")
            .filter(|(path, _)| !path.starts_with("/dev/"))
            .map(|(path, place)| (Claim::File(path), Some(place))),
        (StageKind::Sink | StageKind::Transform, _) => None,
    }
}

/// Reports what two components of the files claim.
pub(super) fn check(drafts: &[Draft<'_>], problems: &mut Problems) {
    let mut seen: Vec<(Claim, Place)> = Vec::new();
    for draft in drafts {
        let Some(type_name) = draft.type_name() else { continue };
        let Some((claim, place)) = claim(draft.declared.kind, type_name, draft.declared.node) else { continue };
        let place = place.unwrap_or(draft.declared.name.place);
        if let Some((known, first)) = seen.iter().find(|(known, _)| known.clashes(&claim)) {
            problems.push(describe(&claim, known, place, *first));
        }
        seen.push((claim, place));
    }
}

fn describe(claim: &Claim, known: &Claim, place: Place, first: Place) -> Problem {
    let what = claim.in_words();
    let new = |code, title: String| Problem::new(code, title).at(place, "the second one").at(first, "the first one");
    match claim {
        Claim::Stream(_) | Claim::Packets(_) if claim != known => {
            let title = format!("two sources listen on the same port: {} and {what}", known.in_words());
            new(Code::PortInUse, title)
                .note("an address of zeros stands for every address of the machine, also for the other one")
                .help("give one of them another port")
        }
        Claim::Stream(_) | Claim::Packets(_) => {
            new(Code::PortInUse, format!("two sources listen on {what}")).help("give one of them another port")
        }
        Claim::Socket(_) => {
            new(Code::PortInUse, format!("two sources listen on {what}")).help("give one of them another path")
        }
        Claim::Stdin => new(Code::BadSetting, format!("two sources read {what}: each would get a part of it"))
            .help("keep one, and name it in the `inputs` of whoever reads it"),
        Claim::File(_) => new(Code::BadPath, format!("two sinks write to {what}, each over what the other wrote"))
            .help("give one of them another path, or keep one sink with the `inputs` of both"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_zeros_is_every_one_of_its_port() {
        let clash = |a: &str, b: &str| {
            let [a, b] = [a, b].map(|text| Claim::Stream(text.parse().expect("an address")));
            assert_eq!(a.clashes(&b), b.clashes(&a));
            a.clashes(&b)
        };
        assert!(
            clash("127.0.0.1:9", "127.0.0.1:9") && clash("127.0.0.1:9", "0.0.0.0:9") && clash("[::]:9", "1.2.3.4:9")
        );
        assert!(clash("[::]:9", "[::1]:9") && clash("[::]:9", "0.0.0.0:9"));
        assert!(!clash("127.0.0.1:9", "127.0.0.2:9") && !clash("0.0.0.0:9", "[::1]:9"));
        assert!(!clash("127.0.0.1:9", "0.0.0.0:8") && !clash("127.0.0.1:0", "127.0.0.1:0"));
        let packets = Claim::Packets("0.0.0.0:9".parse().expect("an address"));
        assert!(!packets.clashes(&Claim::Stream("0.0.0.0:9".parse().expect("an address"))));
    }
}
