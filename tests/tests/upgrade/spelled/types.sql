-- What major versions of PostgreSQL write in different ways, beside atomic/regression/types.sql.
CREATE DOMAIN strict_text AS text NOT NULL DEFAULT 'x' CONSTRAINT strict_short CHECK (length(VALUE) < 100);
CREATE DOMAIN strict_named AS int CONSTRAINT must_be NOT NULL CHECK (VALUE > 0);
