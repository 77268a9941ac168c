//! The transaction of an inbox as an argument of a handler.

use super::Shared;
use crate::dialect::Dialect;
use crate::tx::Tx;
use std::sync::Arc;
use tidings_core::{Database, Delivery, Failure, FromContext, FromDelivery, HandlerContext, Needs};

impl<S, DB: Dialect> FromDelivery<S> for Tx<DB> {
    const NEEDS: Needs = needs::<DB>();

    fn from_delivery(delivery: &Delivery, _state: &S) -> Result<Self, Failure> {
        of(delivery.context())
    }
}

impl<S, DB: Dialect> FromContext<S> for Tx<DB> {
    const NEEDS: Needs = needs::<DB>();

    fn from_context(context: &Arc<HandlerContext>, _state: &S) -> Result<Self, Failure> {
        of(context)
    }
}

const fn needs<DB: Dialect>() -> Needs {
    Needs {
        transaction: Some(Database::of::<DB>()),
        ..Needs::NOTHING
    }
}

fn of<DB: Dialect>(context: &HandlerContext) -> Result<Tx<DB>, Failure> {
    let shared = context.transaction::<Shared<DB>>();
    let shared = shared.ok_or_else(|| {
        let wanted = DB::TITLE;
        Failure::permanent(format!(
            "there is no transaction of {wanted}: give the subscription an inbox there, and take one `Tx`"
        ))
    })?;
    let lent = shared.lend();
    lent.ok_or_else(|| Failure::permanent("the transaction is in use: a handler can take `Tx` only once"))
}
