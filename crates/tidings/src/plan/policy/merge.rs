//! One value after the other, with its origin: [`Merge`].

use crate::describe::Value;
use crate::plan::layered;
use std::time::Duration;
use tidings_config::{Origin, Setting, SubscriptionConfig};
use tidings_core::BatchPolicy;

/// A configured value as the engine's.
pub(super) fn mapped<T: Clone, U>(
    setting: &Option<Setting<T>>,
    convert: impl FnOnce(T) -> U,
) -> Option<Setting<U>> {
    setting.clone().map(|setting| setting.map(convert))
}

/// Gathers values with their origins.
pub(super) struct Merge {
    pub(super) code: Origin,
    pub(super) values: Vec<Value>,
}

impl Merge {
    pub(super) fn new(place: &str) -> Self {
        Self {
            code: Origin::code(place),
            values: Vec::new(),
        }
    }

    pub(super) fn pick<T>(
        &mut self,
        key: &'static str,
        default: T,
        code: Option<T>,
        config: Option<Setting<T>>,
        show: impl FnOnce(&T) -> String,
    ) -> T {
        let code = code.map(|value| Setting::new(value, self.code.clone()));
        let setting = layered(default, code, config);
        self.values
            .push(Value::new(key, show(&setting.value), setting.origin));
        setting.value
    }

    pub(super) fn number<T: Copy + ToString>(
        &mut self,
        key: &'static str,
        default: T,
        code: Option<T>,
        config: &Option<Setting<T>>,
    ) -> T {
        self.pick(key, default, code, config.clone(), T::to_string)
    }

    pub(super) fn switch(
        &mut self,
        key: &'static str,
        code: Option<bool>,
        config: &Option<Setting<bool>>,
    ) -> bool {
        self.pick(key, false, code, config.clone(), bool::to_string)
    }

    pub(super) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        code: Option<Duration>,
        config: &Option<Setting<Duration>>,
    ) -> Duration {
        self.pick(key, default, code, config.clone(), |duration| {
            format!("{duration:?}")
        })
    }

    /// A subscription without batches does not show how they would be formed.
    pub(super) fn batch(
        &mut self,
        is_batch: bool,
        base: BatchPolicy,
        code: Option<BatchPolicy>,
        config: &SubscriptionConfig,
    ) -> BatchPolicy {
        if !is_batch {
            return code.unwrap_or(base);
        }
        BatchPolicy {
            size: self.number(
                "batch_size",
                base.size,
                code.map(|batch| batch.size),
                &config.batch_size,
            ),
            linger: self.duration(
                "batch_linger",
                base.linger,
                code.map(|batch| batch.linger),
                &config.batch_linger,
            ),
        }
    }
}
