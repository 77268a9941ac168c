//! What is known of a message that processes died of: [`Deaths`].

use super::{Activity, Company};

/// How often a process died while it handled a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deaths {
    /// The message.
    pub offset: u64,
    /// Its handler was executing, others were handled too.
    pub executing: u32,
    /// Its handler was waiting, others were handled too.
    pub waiting: u32,
    /// Its handler was executing, and nothing else was handled.
    pub executing_alone: u32,
    /// Its handler was waiting, and nothing else was handled.
    pub waiting_alone: u32,
}

impl Deaths {
    /// None yet.
    pub fn of(offset: u64) -> Self {
        Self {
            offset,
            ..Self::default()
        }
    }

    /// One more.
    pub fn add(&mut self, activity: Activity, company: Company) {
        let count = match (activity, company) {
            (Activity::Executing, Company::Others) => &mut self.executing,
            (Activity::Waiting, Company::Others) => &mut self.waiting,
            (Activity::Executing, Company::Nobody) => &mut self.executing_alone,
            (Activity::Waiting, Company::Nobody) => &mut self.waiting_alone,
        };
        *count = count.saturating_add(1);
    }

    /// All of them.
    pub fn count(&self) -> u32 {
        let all = [
            self.executing,
            self.waiting,
            self.executing_alone,
            self.waiting_alone,
        ];
        all.into_iter().fold(0, u32::saturating_add)
    }
}
