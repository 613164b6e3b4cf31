//! A command that takes time: one at a time, with progress, an end, and the possibility to stop it.

use serde_json::Value as Json;

/// What a model answers to a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Done at once, with a result.
    Done(Json),
    /// Begun; the bench tells the rest.
    Started,
    /// Not tried: the device is in a wrong state for it.
    Rejected(String),
    /// Tried, and it went wrong.
    Failed(String),
}

/// How a job stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// Still at it; 0 to 1.
    Running(f64),
    /// Done, with a result.
    Done(Json),
    /// It went wrong.
    Failed(String),
}

#[derive(Debug, Clone)]
struct Job {
    name: &'static str,
    elapsed: f64,
    duration: f64,
    failure: Option<String>,
    end: Option<Progress>,
}

/// Where a device works on at most one job.
#[derive(Debug, Clone, Default)]
pub struct Bench {
    job: Option<Job>,
}

impl Bench {
    /// Begins a job, unless one is running. With a `failure` it goes wrong after six tenths of its time.
    pub fn begin(&mut self, name: &'static str, seconds: f64, failure: Option<String>) -> Reply {
        if let Some(job) = &self.job {
            let percent = (100.0 * job.elapsed / job.duration).min(100.0);
            return Reply::Rejected(format!(
                "{} is running ({percent:.0} % done): wait or cancel it",
                job.name
            ));
        }
        self.job = Some(Job { name, elapsed: 0.0, duration: seconds, failure, end: None });
        Reply::Started
    }

    /// Works for a while. Returns the job that has just been done, so that the model can act on it.
    pub fn step(&mut self, dt: f64) -> Option<&'static str> {
        let job = self.job.as_mut().filter(|job| job.end.is_none())?;
        job.elapsed += dt;
        if let Some(failure) = job.failure.take_if(|_| job.elapsed >= 0.6 * job.duration) {
            job.end = Some(Progress::Failed(failure));
            return None;
        }
        if job.elapsed < job.duration {
            return None;
        }
        job.end = Some(Progress::Done(serde_json::json!({ "seconds": job.duration })));
        Some(job.name)
    }

    /// Gives the job that was just done a better result than how long it took.
    pub fn set_result(&mut self, result: Json) {
        if let Some(Job { end: Some(end @ Progress::Done(_)), .. }) = &mut self.job {
            *end = Progress::Done(result);
        }
    }

    /// Which job is being worked on.
    pub fn running(&self) -> Option<&'static str> {
        self.job.as_ref().filter(|job| job.end.is_none()).map(|job| job.name)
    }

    /// How the job stands. Its end is told once, and makes the bench free.
    pub fn poll(&mut self) -> Option<Progress> {
        let job = self.job.as_mut()?;
        match job.end.take() {
            Some(end) => {
                self.job = None;
                Some(end)
            }
            None => Some(Progress::Running((job.elapsed / job.duration).clamp(0.0, 1.0))),
        }
    }

    /// Stops the job and forgets it.
    pub fn cancel(&mut self) {
        self.job = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_makes_progress_ends_once_and_leaves_the_bench_free() {
        let mut bench = Bench::default();
        assert_eq!(bench.begin("test", 10.0, None), Reply::Started);
        assert!(
            matches!(bench.begin("other", 1.0, None), Reply::Rejected(why) if why.contains("test is running"))
        );
        assert_eq!(bench.step(5.0), None);
        assert_eq!(bench.poll(), Some(Progress::Running(0.5)));
        assert_eq!(bench.step(5.0), Some("test"));
        assert!(matches!(bench.poll(), Some(Progress::Done(_))));
        assert_eq!(bench.poll(), None);
    }

    #[test]
    fn a_job_that_fails_says_why_and_one_that_is_cancelled_says_nothing() {
        let mut bench = Bench::default();
        bench.begin("test", 10.0, Some("no oil".into()));
        assert_eq!(bench.step(7.0), None);
        assert_eq!(bench.poll(), Some(Progress::Failed("no oil".into())));
        bench.begin("test", 10.0, None);
        bench.cancel();
        assert_eq!(bench.poll(), None);
    }
}
