//! Results database: schema, migrations, queries.
