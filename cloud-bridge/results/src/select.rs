//! Owns the building of a query whose conditions depend on a filter. Only constant texts become SQL; values are bound.

use sqlx::{Any, AssertSqlSafe, any::AnyArguments, query::Query};

/// A value to bind.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(String),
    Int(i64),
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Self::Int(n)
    }
}

/// A query in the making: begins with `SELECT ... WHERE 1 = 1`.
#[derive(Debug)]
pub(crate) struct Select {
    sql: String,
    values: Vec<Value>,
}

impl Select {
    pub(crate) fn new(start: &'static str) -> Self {
        Self { sql: start.to_owned(), values: Vec::new() }
    }

    /// Adds a condition when there is a value: `and("camera =", ...)`.
    pub(crate) fn and<V: Into<Value>>(mut self, condition: &'static str, value: Option<V>) -> Self {
        if let Some(value) = value {
            self.values.push(value.into());
            self.sql.push_str(&format!(" AND {condition} ${}", self.values.len()));
        }
        self
    }

    /// Adds a condition on two columns: `and_pair("(a, b) <", ...)`.
    pub(crate) fn and_pair(mut self, condition: &'static str, pair: Option<(i64, String)>) -> Self {
        if let Some((first, second)) = pair {
            self.values.extend([first.into(), second.into()]);
            let n = self.values.len();
            self.sql.push_str(&format!(" AND {condition} (${}, ${n})", n - 1));
        }
        self
    }

    /// Adds what comes last, and a limit of rows.
    pub(crate) fn last(mut self, rest: &'static str, limit: u32) -> Self {
        self.values.push(i64::from(limit.min(crate::ROWS_MAX)).into());
        self.sql.push_str(&format!(" {rest} LIMIT ${}", self.values.len()));
        self
    }

    /// Adds a constant text: a condition without a value, or what comes last.
    pub(crate) fn text(mut self, rest: &'static str) -> Self {
        self.sql.push(' ');
        self.sql.push_str(rest);
        self
    }

    pub(crate) fn query(self) -> Query<'static, Any, AnyArguments> {
        let query = sqlx::query(AssertSqlSafe(self.sql));
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Text(text) => query.bind(text),
            Value::Int(n) => query.bind(n),
        })
    }
}
