//! Remembers what is subscribed to and how far each subscription has come.

use std::collections::BTreeMap;

use protocol::name::Position;
use protocol::viewer::{LiveReadings, Subscribe, Subscribed};

#[derive(Debug)]
struct Subscription {
    request: Subscribe,
    /// `subscribe` messages of this id on this connection that the hub has not answered: readings that come before
    /// the answer belong to an older subscription of the same id.
    unanswered: u32,
}

/// The live subscriptions.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    by_id: BTreeMap<u64, Subscription>,
}

impl Subscriptions {
    /// A subscription is wanted; `asked` if it is written to a connection now.
    pub(super) fn add(&mut self, request: Subscribe, asked: bool) {
        let unanswered = self.by_id.get(&request.id).map_or(0, |old| old.unanswered) + u32::from(asked);
        self.by_id.insert(request.id, Subscription { request, unanswered });
    }

    /// A subscription is not wanted any more.
    pub(super) fn remove(&mut self, id: u64) {
        self.by_id.remove(&id);
    }

    /// The hub has taken a subscription.
    pub(super) fn on_subscribed(&mut self, subscribed: &Subscribed) {
        if let Some(subscription) = self.by_id.get_mut(&subscribed.id) {
            subscription.unanswered = subscription.unanswered.saturating_sub(1);
            if subscription.unanswered == 0 {
                // Without its snapshot there is nothing to go on from.
                subscription.request.since = subscribed.resumed.then_some(subscribed.position);
            }
        }
    }

    /// Readings have been given to the application.
    pub(super) fn on_readings(&mut self, id: u64, position: Position) {
        // 0: a part of a snapshot that has not ended.
        if let Some(subscription) = self.by_id.get_mut(&id)
            && subscription.unanswered == 0
            && position > Position(0)
        {
            subscription.request.since = Some(position);
        }
    }

    /// The hub refused something with this id. Returns whether it was a subscription, which is then forgotten: asking
    /// again would be refused again.
    pub(super) fn on_error(&mut self, id: u64) -> bool {
        let refused = self.by_id.get(&id).is_some_and(|subscription| subscription.unanswered > 0);
        if refused {
            self.by_id.remove(&id);
        }
        refused
    }

    /// A new connection is up: what to ask for again.
    pub(super) fn on_connected(&mut self) -> Vec<Subscribe> {
        self.by_id
            .values_mut()
            .map(|subscription| {
                subscription.unanswered = 1;
                subscription.request.clone()
            })
            .collect()
    }
}

/// How far a message brings its subscription, to be told once the application has it.
pub(super) fn progress(readings: &LiveReadings) -> (u64, Position) {
    (readings.id, readings.position)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscribe(id: u64) -> Subscribe {
        serde_json::from_value(serde_json::json!({ "id": id })).unwrap()
    }

    fn subscribed(id: u64, position: i64) -> Subscribed {
        Subscribed { id, series: 1, position: Position(position), resumed: false }
    }

    fn since(subscriptions: &mut Subscriptions) -> Vec<Option<i64>> {
        subscriptions.on_connected().iter().map(|s| s.since.map(|p| p.0)).collect()
    }

    #[test]
    fn a_reconnect_goes_on_where_the_readings_stopped() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.add(subscribe(1), true);
        subscriptions.on_subscribed(&subscribed(1, 5));
        subscriptions.on_readings(1, Position(9));
        assert_eq!(since(&mut subscriptions), [Some(9)]);
    }

    #[test]
    fn a_snapshot_that_broke_off_is_asked_for_again() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.add(subscribe(1), true);
        subscriptions.on_subscribed(&subscribed(1, 5));
        subscriptions.on_readings(1, Position(0));
        assert_eq!(since(&mut subscriptions), [None]);
    }

    #[test]
    fn readings_of_a_replaced_subscription_do_not_move_the_new_one() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.add(subscribe(1), true);
        subscriptions.on_subscribed(&subscribed(1, 5));
        subscriptions.add(subscribe(1), true);
        subscriptions.on_readings(1, Position(9));
        assert_eq!(since(&mut subscriptions), [None]);
    }

    #[test]
    fn a_refused_subscription_is_not_asked_for_again() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.add(subscribe(1), true);
        assert!(subscriptions.on_error(1));
        assert_eq!(since(&mut subscriptions), []);
    }
}
