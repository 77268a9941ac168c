//! Several jobs at the same time, all of them up to one moment: [`all_until`].

use std::collections::HashMap;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// How a job ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum JobEnd<T> {
    /// With this result.
    Done(T),
    /// By a panic.
    Panicked,
    /// Not until the moment: it was dropped.
    Late,
}

/// Runs each job on a task of its own, so that one which blocks its thread does not hold up the others, and waits until
/// all are done or the moment has come. In the order of the jobs.
pub(crate) async fn all_until<T, F>(
    jobs: impl Iterator<Item = (String, F)>,
    until: Instant,
) -> Vec<(String, JobEnd<T>)>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    let mut ends = Vec::new();
    let mut index = HashMap::new();
    for (name, job) in jobs {
        index.insert(tasks.spawn(job).id(), ends.len());
        ends.push((name, JobEnd::Late));
    }
    while let Ok(Some(ended)) = timeout_at(until, tasks.join_next_with_id()).await {
        let (id, end) = match ended {
            Ok((id, result)) => (id, JobEnd::Done(result)),
            Err(error) => (error.id(), JobEnd::Panicked),
        };
        let place = index.get(&id).and_then(|index| ends.get_mut(*index));
        if let Some((_, known)) = place {
            *known = end;
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn what_is_done_or_has_panicked_is_told_from_what_is_late() {
        let job = |seconds: u64| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            assert!(seconds != 1, "this job panics");
            seconds
        };
        let jobs = [9, 1, 2].map(|seconds| (seconds.to_string(), job(seconds)));
        let begun = Instant::now();
        let ends = all_until(jobs.into_iter(), begun + Duration::from_secs(3)).await;
        assert_eq!(begun.elapsed().as_secs(), 3);
        let expected = [JobEnd::Late, JobEnd::Panicked, JobEnd::Done(2)];
        assert_eq!(ends.into_iter().map(|(_, end)| end).collect::<Vec<_>>(), expected);
    }
}
