//! [`RehearsedDisk`]: a disk whose log can be made to die at a named point, and whose syncs can be made slow.

use std::io;

use tidegate_runtime::durable::{Disk, DiskFile};

use super::{Death, Point, delay_sync, pass};

/// What every segment's name ends with, and the one that waits to become a segment.
const SEGMENT: &str = ".segment";
const SPARE: &str = "spare.segment";
const CURSORS: &str = "cursors.";

/// A disk as it is, but for what a rehearsal asks for.
#[derive(Clone, Debug)]
pub struct RehearsedDisk<D>(pub D);

/// A file of a [`RehearsedDisk`].
#[derive(Debug)]
pub struct RehearsedFile<F> {
    file: F,
    kind: Kind,
}

/// Whose file it is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Kind {
    Segment,
    Cursors,
    Other,
}

impl Kind {
    fn of(name: &str) -> Self {
        if name.ends_with(SEGMENT) && name != SPARE {
            Self::Segment
        } else if name.starts_with(CURSORS) {
            Self::Cursors
        } else {
            Self::Other
        }
    }
}

/// What a change of a name is to the log.
fn change(from: Kind, to: Kind) -> Death {
    match (from, to) {
        (Kind::Other, Kind::Segment) => pass(Point::Roll),
        (Kind::Segment, Kind::Other) => pass(Point::Unlink),
        _ => Death::Never,
    }
}

/// Does it, and dies on one side of it where that is asked for.
fn around<T>(death: Death, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    death.at(Death::Before);
    let done = call();
    death.at(Death::After);
    done
}

impl<D: Disk> Disk for RehearsedDisk<D> {
    type File = RehearsedFile<D::File>;

    fn create(&self, name: &str, size: u64) -> io::Result<Self::File> {
        let kind = Kind::of(name);
        around(change(Kind::Other, kind), || self.0.create(name, size)).map(|file| RehearsedFile { file, kind })
    }

    fn open(&self, name: &str) -> io::Result<Self::File> {
        self.0.open(name).map(|file| RehearsedFile { file, kind: Kind::of(name) })
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.0.names()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        around(change(Kind::of(from), Kind::of(to)), || self.0.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        around(change(Kind::of(name), Kind::Other), || self.0.remove(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        delay_sync();
        self.0.sync_names()
    }
}

impl<F: DiskFile> DiskFile for RehearsedFile<F> {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        // The header of a segment is no record.
        let death = if self.kind == Kind::Segment && offset > 0 { pass(Point::Append) } else { Death::Never };
        if death == Death::Before {
            // Half of it: what a process that dies in a long write leaves.
            let _ = self.file.write_at(offset, &bytes[..bytes.len() / 2]);
        }
        around(death, || self.file.write_at(offset, bytes))
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        let death = match self.kind {
            Kind::Segment => pass(Point::Sync),
            Kind::Cursors => pass(Point::Cursor),
            Kind::Other => Death::Never,
        };
        around(death, || {
            delay_sync();
            self.file.sync()
        })
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_by_their_names() {
        let kinds = ["0000000000000001.segment", SPARE, "cursors.a", "cursors.new", "x"].map(Kind::of);
        assert_eq!(kinds, [Kind::Segment, Kind::Other, Kind::Cursors, Kind::Cursors, Kind::Other]);
    }
}
