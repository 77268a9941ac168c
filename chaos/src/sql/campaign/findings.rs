//! What is there when a campaign is over.

use super::{Attack, writing};
use crate::error::ChaosError;
use crate::history::{Effect, Event, SqlEvent};
use crate::sql::database::TestDb;

impl<DB: TestDb> Attack<'_, DB> {
    /// Writes down what is in the database and at the broker.
    pub(super) async fn note(&self) -> Result<(), ChaosError> {
        let mut connection = writing(&self.store).await?;
        let effects = "SELECT id, key, CAST(number AS TEXT), nonce FROM effects";
        let rows = DB::rows(&mut connection, effects, 4)
            .await
            .map_err(ChaosError::service)?;
        let effects = rows.into_iter().filter_map(|row| {
            let [id, key, number, nonce] = <[String; 4]>::try_from(row).ok()?;
            let number = number.parse().ok()?;
            Some(Event::Sql(SqlEvent::Effect(Effect {
                id,
                key,
                number,
                nonce,
            })))
        });
        self.history.write_all(effects);
        let claims = format!("SELECT id FROM {}inbox", DB::PREFIX);
        let rows = DB::rows(&mut connection, &claims, 1)
            .await
            .map_err(ChaosError::service)?;
        let claims = rows
            .into_iter()
            .flatten()
            .map(|id| Event::Sql(SqlEvent::Claim { id }));
        self.history.write_all(claims);
        let left = format!(
            "SELECT (SELECT count(*) FROM {0}outbox) + (SELECT count(*) FROM {0}outbox_parked)",
            DB::PREFIX
        );
        let left = DB::number(&mut connection, &left)
            .await
            .map_err(ChaosError::service)?;
        let rows = left.unsigned_abs();
        self.history.write(Event::Sql(SqlEvent::Left { rows }));
        self.hub.note(&self.history).await
    }
}
