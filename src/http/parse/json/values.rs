//! `parameters`: an object of strings, numbers, booleans and lists of strings.

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};

use crate::domain::ParamValue;
use crate::http::parse::json::cx::{Cx, numbers, refuse, seed};
use crate::http::parse::json::strings::Plain;
use crate::http::parse::{Collected, step};

const STRINGS_MAX: usize = 64;

pub struct Parameters<'a, 'c> {
    pub cx: &'a Cx<'c>,
    pub params: &'a mut Collected,
}

impl Parameters<'_, '_> {
    fn wrong<E: de::Error>(&self, got: &str) -> E {
        self.cx.fault("/parameters", "an object", got, "such as {\"top_k\": 3}")
    }
}

impl<'de> DeserializeSeed<'de> for Parameters<'_, '_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Parameters<'_, '_> {
    type Value = ();
    refuse!(null, boolean, number, string, list);

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let pointer = format!("/parameters/{}", step(&name));
            let value = map.next_value_seed(Value { cx: self.cx, pointer: &pointer })?;
            self.params.add(&name, value, pointer).map_err(|problem| self.cx.stop(problem))?;
        }
        Ok(())
    }
}

struct Value<'a, 'c> {
    cx: &'a Cx<'c>,
    pointer: &'a str,
}

impl Value<'_, '_> {
    fn wrong<E: de::Error>(&self, got: &str) -> E {
        let expected = "a string, a number, true, false, or a list of at most 64 strings";
        self.cx.fault(self.pointer, expected, got, "leave it out to get the default")
    }
}
seed!(Value => ParamValue);

impl<'de> Visitor<'de> for Value<'_, '_> {
    type Value = ParamValue;
    refuse!(null, object);
    numbers!(self, value => Ok(ParamValue::Number(value)));

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<ParamValue, E> {
        Ok(ParamValue::Bool(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<ParamValue, E> {
        Ok(ParamValue::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ParamValue, A::Error> {
        let mut strings = Vec::new();
        loop {
            let pointer = format!("{}/{}", self.pointer, strings.len());
            let Some(string) = list.next_element_seed(Plain { cx: self.cx, pointer: &pointer })?
            else {
                return Ok(ParamValue::List(strings));
            };
            if strings.len() == STRINGS_MAX {
                return Err(self.wrong("a longer list"));
            }
            strings.push(string);
        }
    }
}
