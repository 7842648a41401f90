//! The source under the checks of the kit, fed from a pipe.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, OwnedFd};

use tidegate_flow::EdgeSpec;
use tidegate_record::Rows;
use tidegate_runtime::PipelineBuilder;
use tidegate_tck::component::{ProbeSink, SOME, SourceComponent, Traffic, WINDOW, Wired};

use super::{Input, KIND, Stdin};
use crate::contract::BuildContext;
use crate::wiring;

struct Lines;

impl Traffic for Lines {
    type Payload = Rows;

    fn records(numbers: std::ops::Range<u64>) -> Rows {
        Rows::from_texts(numbers.map(|number| format!("line {number}")))
    }

    fn texts(rows: &Rows) -> Vec<String> {
        rows.iter().map(|row| String::from_utf8_lossy(row.bytes()).into_owned()).collect()
    }
}

struct Metered(BuildContext);

impl Wired for Metered {
    fn metrics(&self) -> Vec<String> {
        self.0.meters.all().iter().map(|meter| meter.name.to_owned()).collect()
    }
}

/// The source, reading a pipe instead of what the tests were given.
struct Piped;

impl SourceComponent for Piped {
    type Traffic = Lines;
    type Run = Metered;
    const NAME: &'static str = "stdin";
    const REAL_TIME: bool = true;
    const ENDS: bool = true;

    fn declared() -> Vec<String> {
        KIND.metrics.iter().map(|name| (*name).to_owned()).collect()
    }

    fn expected() -> Option<Vec<String>> {
        Some(Lines::texts(&Lines::records(0..SOME)))
    }

    async fn wire(builder: &PipelineBuilder, sink: ProbeSink<Lines>) -> Metered {
        let cx = BuildContext::new("unused");
        let (port, flow) = builder.boxed_port::<Rows>(EdgeSpec::new("sink").records(WINDOW));
        flow.sink("sink", sink);
        let (reading, mut writing) = std::io::pipe().unwrap();
        // A pipe holds more than this.
        (0..SOME).for_each(|number| writeln!(writing, "line {number}").unwrap());
        let path = format!("/proc/self/fd/{}", reading.as_raw_fd());
        let input = Input::open(File::from(OwnedFd::from(reading)), &path).unwrap();
        Stdin::default().start_with(wiring::lone_source("source", &cx, builder, &port), input);
        Metered(cx)
    }
}

tidegate_tck::source_component_suite!(suite, Piped);
