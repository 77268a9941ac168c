//! The receipts that are under way, found again by the number that each message carries.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidings_core::{PublishError, RECEIPTS_PER_BLOCK, ReceiptBlock};

/// Blocks of receipts by their index. A message carries index and place as one number.
///
/// An index is used again once its block is whole, so the table is bounded by what librdkafka's buffer holds: at worst
/// one message under way in each block, a KiB each.
#[derive(Debug, Default)]
pub(super) struct Table {
    blocks: Mutex<Blocks>,
}

#[derive(Debug, Default)]
struct Blocks {
    all: Vec<Option<Arc<ReceiptBlock>>>,
    free: Vec<usize>,
}

impl Table {
    /// A new block and its index.
    pub(super) fn add(&self) -> (usize, Arc<ReceiptBlock>) {
        let block = Arc::new(ReceiptBlock::new());
        let mut blocks = self.blocks();
        let index = match blocks.free.pop() {
            Some(index) => index,
            None => {
                blocks.all.push(None);
                blocks.all.len() - 1
            }
        };
        if let Some(slot) = blocks.all.get_mut(index) {
            *slot = Some(block.clone());
        }
        (index, block)
    }

    /// Every block that is not whole.
    pub(super) fn under_way(&self) -> Vec<Arc<ReceiptBlock>> {
        self.blocks().all.iter().flatten().cloned().collect()
    }

    fn get(&self, index: usize) -> Option<Arc<ReceiptBlock>> {
        self.blocks().all.get(index)?.clone()
    }

    /// Lets go of a block that is whole. Two threads may find that; the index may be another block's already.
    pub(super) fn release(&self, index: usize, block: &Arc<ReceiptBlock>) {
        let mut blocks = self.blocks();
        let slot = blocks.all.get_mut(index);
        if let Some(slot) = slot.filter(|slot| slot.as_ref().is_some_and(|held| Arc::ptr_eq(held, block))) {
            *slot = None;
            blocks.free.push(index);
        }
    }

    fn blocks(&self) -> MutexGuard<'_, Blocks> {
        // Nothing can panic while it is held.
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number that a message carries.
pub(super) fn number(index: usize, place: usize) -> usize {
    index * RECEIPTS_PER_BLOCK + place
}

/// Answers of one round. Tasks are woken, and blocks let go of, when it ends: once for each block, not for each message.
#[derive(Debug)]
pub(super) struct Answers<'a> {
    table: &'a Table,
    touched: Vec<(usize, Arc<ReceiptBlock>)>,
}

impl<'a> Answers<'a> {
    pub(super) fn new(table: &'a Table) -> Self {
        Self {
            table,
            touched: Vec::new(),
        }
    }

    pub(super) fn kept(&mut self, number: usize, partition: u32, offset: u64) {
        if let Some(block) = self.block(number / RECEIPTS_PER_BLOCK) {
            block.kept(number % RECEIPTS_PER_BLOCK, partition, offset);
        }
    }

    pub(super) fn refused(&mut self, number: usize, error: PublishError) {
        if let Some(block) = self.block(number / RECEIPTS_PER_BLOCK) {
            block.refused(number % RECEIPTS_PER_BLOCK, error);
        }
    }

    /// Reports of one partition come in the order of publishing, so the block is mostly the one before.
    fn block(&mut self, index: usize) -> Option<&Arc<ReceiptBlock>> {
        if self.touched.last().is_none_or(|(last, _)| *last != index) {
            let block = self.table.get(index)?;
            self.touched.push((index, block));
        }
        self.touched.last().map(|(_, block)| block)
    }

    /// Wakes who waits for what was answered.
    pub(super) fn finish(&mut self) {
        for (index, block) in self.touched.drain(..) {
            block.wake();
            if block.is_whole() {
                self.table.release(index, &block);
            }
        }
    }
}

impl Drop for Answers<'_> {
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_block_is_let_go_of_when_it_is_whole_and_its_index_is_used_again() {
        let table = Table::default();
        let (first, block) = table.add();
        let (second, _other) = table.add();
        assert_ne!(first, second);
        let receipts: Vec<_> = (0..RECEIPTS_PER_BLOCK)
            .map(|place| block.receipt(place, "orders".into()))
            .collect();
        let mut answers = Answers::new(&table);
        for place in 0..RECEIPTS_PER_BLOCK - 1 {
            answers.kept(number(first, place), 0, place as u64);
        }
        answers.finish();
        assert_eq!(table.under_way().len(), 2, "one answer is missing");
        answers.refused(number(first, RECEIPTS_PER_BLOCK - 1), PublishError::NoChannel);
        drop(answers);
        assert_eq!(table.under_way().len(), 1);
        assert_eq!(table.add().0, first);
        let mut kept = 0;
        for receipt in receipts {
            kept += u64::from(receipt.await.is_ok());
        }
        assert_eq!(kept, 63);
    }

    #[test]
    fn a_block_that_took_the_index_of_another_is_not_let_go_of_for_it() {
        let table = Table::default();
        let (index, old) = table.add();
        table.release(index, &old);
        let (again, _new) = table.add();
        assert_eq!(again, index);
        table.release(index, &old);
        assert_eq!(table.under_way().len(), 1);
    }
}
