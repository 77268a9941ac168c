//! Something that is done unless it is called off: [`Guard`].

/// Runs when it is dropped. For flags of background work, whose task a runtime may drop at any point.
pub(crate) struct Guard<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Guard<F> {
    /// A guard that runs that.
    pub(crate) fn new(on_drop: F) -> Self {
        Self(Some(on_drop))
    }

    /// Calls it off.
    pub(crate) fn disarm(&mut self) {
        self.0 = None;
    }
}

impl<F: FnOnce()> Drop for Guard<F> {
    fn drop(&mut self) {
        if let Some(on_drop) = self.0.take() {
            on_drop();
        }
    }
}
