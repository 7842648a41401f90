//! [`blocking`]: work that blocks its thread (files, a terminal), taken off the threads that run the stages.

use tidegate_flow::Nack;

use crate::context::panic_nack;

/// Does `work` on a thread where it may block, and gives what it gives. One stage should have one such work under way at
/// a time, so that their number is bounded by that of the stages.
///
/// Not cancel-safe: dropped, the work still goes on to its end, and its result is lost.
///
/// # Errors
/// The work panicked (permanent), or the runtime ends and did not begin it (transient).
///
/// # Panics
/// Outside a tokio runtime.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Nack> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => Err(panic_nack(&*panic)),
            Err(_) => Err(Nack::transient("the process ends")),
        },
    }
}

#[cfg(test)]
mod tests {
    use tidegate_flow::NackKind;

    use super::*;

    #[tokio::test]
    async fn work_gives_its_result_and_a_panic_is_a_refusal() {
        assert_eq!(blocking(|| 6 * 7).await, Ok(42));
        let refused = blocking(|| panic!("no disk")).await.map(|()| 0).unwrap_err();
        assert_eq!((refused.kind, refused.cause.as_str()), (NackKind::Permanent, "panicked: no disk"));
    }
}
