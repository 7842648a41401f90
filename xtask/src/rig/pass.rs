//! The floor: a bare program that reads and writes and does nothing else, over TCP or from file to file.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;

use super::{Options, io, listen};
use crate::shell::Fail;

/// `pass --listen ADDRESS --to ADDRESS [--block BYTES]`; prints the address that it listens on first.
pub(super) fn run(options: &Options) -> Result<(), Fail> {
    let to = options.text("to")?.to_owned();
    let listener = listen(options)?;
    let block = usize::try_from(options.number("block", 64 * 1024)?).unwrap_or(1);
    for from in listener.incoming().flatten() {
        let into = TcpStream::connect(&to).map_err(|error| io(&to, &error))?;
        std::thread::spawn(move || carry(from, into, block));
    }
    Ok(())
}

/// `copy --from PATH --into PATH [--block BYTES]`
pub(super) fn copy(options: &Options) -> Result<(), Fail> {
    let (from, into) = (options.text("from")?, options.text("into")?);
    let block = usize::try_from(options.number("block", 64 * 1024)?).unwrap_or(1);
    let reading = File::open(from).map_err(|error| io(from, &error))?;
    carry(reading, File::create(into).map_err(|error| io(into, &error))?, block);
    Ok(())
}

fn carry(mut from: impl Read, mut into: impl Write, block: usize) {
    let mut block = vec![0; block.max(1)];
    while let Ok(read @ 1..) = from.read(&mut block) {
        if into.write_all(&block[..read]).is_err() {
            return;
        }
    }
}
