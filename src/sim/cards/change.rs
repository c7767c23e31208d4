//! A change of a card's variables as a call or an answer writes it (oapi.md, sections 6.4 and 6.8).

use std::collections::BTreeMap;

use serde_json::Value;

use super::machine::CardRefusal;
use super::record::CardParams;

/// New values, and whether the other ones stay.
#[derive(Debug, Default)]
pub(in crate::sim) struct Change {
    /// Public variables; `None` leaves them all.
    pub(in crate::sim) params: Option<CardParams>,
    /// Private variables of the users that it names.
    pub(in crate::sim) private_data: BTreeMap<String, CardParams>,
    /// Whether public variables that it does not name stay.
    pub(in crate::sim) by_key: bool,
    /// Whether private variables that it does not name stay.
    pub(in crate::sim) private_by_key: bool,
}

impl Change {
    /// The change that a request to create or update a card asks for.
    pub(in crate::sim) fn of_request(body: &Value) -> Result<Self, CardRefusal> {
        let mut private_data = BTreeMap::new();
        if let Some(users) = body.get("privateData").and_then(Value::as_object) {
            for (user, data) in users {
                if user.is_empty() {
                    return Err(CardRefusal::Param("param.userIdEmpty"));
                }
                let params = read_params(Some(data))?.unwrap_or_default();
                private_data.insert(user.clone(), params);
            }
        }
        Ok(Self {
            params: read_params(body.get("cardData"))?,
            private_data,
            ..Self::options(body)
        })
    }

    /// The change that an answer to a press of `user` asks for; private variables are the presser's.
    pub(super) fn of_answer(response: &Value, user: &str) -> Result<Self, CardRefusal> {
        let private = read_params(response.get("userPrivateData"))?;
        let private = private.map(|params| (user.to_owned(), params));
        Ok(Self {
            params: read_params(response.get("cardData"))?,
            private_data: private.into_iter().collect(),
            ..Self::options(response)
        })
    }

    pub(in crate::sim) fn is_empty(&self) -> bool {
        self.params.is_none() && self.private_data.is_empty()
    }

    fn options(body: &Value) -> Self {
        let options = body.get("cardUpdateOptions");
        let on = |key: &str| {
            let flag = options.and_then(|options| options.get(key)?.as_bool());
            flag.unwrap_or_default()
        };
        Self {
            by_key: on("updateCardDataByKey"),
            private_by_key: on("updatePrivateDataByKey"),
            ..Self::default()
        }
    }
}

/// `cardParamMap` of a `cardData`; every value must be a string.
fn read_params(data: Option<&Value>) -> Result<Option<CardParams>, CardRefusal> {
    let Some(map) = data.and_then(|data| data.get("cardParamMap")) else {
        return Ok(None);
    };
    let invalid = CardRefusal::Param("param.invalid");
    let Some(map) = map.as_object() else {
        return Err(invalid);
    };
    let pairs = map
        .iter()
        .map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    pairs
        .collect::<Option<CardParams>>()
        .map(Some)
        .ok_or(invalid)
}
