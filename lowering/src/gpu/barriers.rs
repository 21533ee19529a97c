//! Where launches must wait for those before them.

use super::kernels::Made;
use super::plan::{Argument, Launch};

/// Set the barrier of each launch that touches what a launch since the last barrier has written, or
/// writes what one has touched.
pub(super) fn place(launches: &mut [Launch], kernels: &[Made]) {
    let mut since: Vec<(Argument, bool)> = Vec::new();
    for launch in launches {
        let writes = &kernels[launch.kernel].writes;
        let own: Vec<(Argument, bool)> =
            launch.arguments.iter().enumerate().map(|(i, &a)| (a, writes.contains(&i))).collect();
        let meets = |(a, written): &(Argument, bool)| {
            since.iter().any(|(b, w)| (*written || *w) && overlap(a, b))
        };
        launch.barrier = own.iter().any(meets);
        if launch.barrier {
            since.clear();
        }
        since.extend(own);
    }
}

fn overlap(a: &Argument, b: &Argument) -> bool {
    a.buffer == b.buffer && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes
}
