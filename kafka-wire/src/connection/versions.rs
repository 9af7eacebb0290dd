//! What one broker can do: the API versions and features it told in its ApiVersions response (KIP-35, KIP-584).
//!
//! API keys are plain numbers here: brokers know more APIs than our message crate, and that is no error.

use std::ops::RangeInclusive;

use kafka_protocol::messages::ApiVersionsResponse;

/// The versions and finalized features of one broker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BrokerVersions {
    /// API key, lowest and highest version, sorted by key.
    apis: Vec<(i16, i16, i16)>,
    /// Finalized feature and its level, for example `transaction.version` 2.
    features: Vec<(String, i16)>,
}

impl BrokerVersions {
    /// Takes over what a broker answered.
    pub(crate) fn from_response(response: &ApiVersionsResponse) -> Self {
        let mut apis: Vec<_> = response
            .api_keys
            .iter()
            .map(|api| (api.api_key, api.min_version, api.max_version))
            .collect();
        apis.sort_unstable();
        let features = response.finalized_features.iter();
        Self {
            apis,
            features: features.map(|f| (f.name.to_string(), f.max_version_level)).collect(),
        }
    }

    /// The range the broker offers for an API.
    pub(crate) fn range(&self, api_key: i16) -> Option<RangeInclusive<i16>> {
        let index = self.apis.partition_point(|&(key, ..)| key < api_key);
        let &(key, lowest, highest) = self.apis.get(index)?;
        (key == api_key).then_some(lowest..=highest)
    }

    /// The highest version both sides speak.
    pub(crate) fn common(&self, api_key: i16, ours: &RangeInclusive<i16>) -> Option<i16> {
        let theirs = self.range(api_key)?;
        let version = *ours.end().min(theirs.end());
        (version >= *ours.start() && version >= *theirs.start()).then_some(version)
    }

    /// The finalized level of a feature; `None` when the cluster does not know it.
    pub(crate) fn feature(&self, name: &str) -> Option<i16> {
        self.features
            .iter()
            .find(|(known, _)| known == name)
            .map(|&(_, level)| level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey};
    use kafka_protocol::protocol::StrBytes;

    fn broker() -> BrokerVersions {
        let api = |key, min, max| {
            ApiVersion::default()
                .with_api_key(key)
                .with_min_version(min)
                .with_max_version(max)
        };
        let level = FinalizedFeatureKey::default()
            .with_name(StrBytes::from_static_str("transaction.version"))
            .with_max_version_level(2);
        BrokerVersions::from_response(
            &ApiVersionsResponse::default()
                .with_api_keys(vec![api(88, 0, 1), api(3, 0, 12), api(1, 4, 16)])
                .with_finalized_features(vec![level]),
        )
    }

    #[test]
    fn the_common_version_is_the_lower_maximum() {
        assert_eq!(broker().common(3, &(0..=13)), Some(12));
        assert_eq!(broker().common(3, &(0..=9)), Some(9));
        assert_eq!(broker().common(1, &(4..=18)), Some(16));
    }

    #[test]
    fn without_overlap_there_is_none() {
        assert_eq!(broker().common(1, &(0..=3)), None);
        assert_eq!(broker().common(3, &(13..=13)), None);
        assert_eq!(broker().common(68, &(0..=1)), None);
    }

    #[test]
    fn apis_unknown_to_us_are_plain_numbers() {
        assert_eq!(broker().range(88), Some(0..=1));
    }

    #[test]
    fn features_carry_their_finalized_level() {
        assert_eq!(broker().feature("transaction.version"), Some(2));
        assert_eq!(broker().feature("group.version"), None);
    }
}
