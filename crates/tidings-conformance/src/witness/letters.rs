//! Takes the stamps off dead letters that are looked at: [`UnstampedLetters`].

use super::source::unstamped;
use std::sync::Arc;
use tidings_core::{BinderError, BoxFuture, HeldLetter, HeldLetters};

#[derive(Debug)]
pub(super) struct UnstampedLetters(pub(super) Box<dyn HeldLetters>);

impl HeldLetters for UnstampedLetters {
    fn place(&self) -> &Arc<str> {
        self.0.place()
    }

    fn next(&mut self, at_most: usize) -> BoxFuture<'_, Result<Option<Vec<HeldLetter>>, BinderError>> {
        let next = self.0.next(at_most);
        Box::pin(async move {
            let letters = next.await?;
            let plain = |letter: HeldLetter| HeldLetter {
                message: unstamped(letter.message).1,
                ..letter
            };
            Ok(letters.map(|letters| letters.into_iter().map(plain).collect()))
        })
    }

    fn left(&self) -> u64 {
        self.0.left()
    }

    fn finish(&mut self, tickets: Vec<u64>) -> BoxFuture<'_, Result<(), BinderError>> {
        self.0.finish(tickets)
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), BinderError>> {
        self.0.close()
    }
}
