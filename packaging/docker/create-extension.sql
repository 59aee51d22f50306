-- The control database, whatever POSTGRES_DB says.
\connect postgres
CREATE EXTENSION stonescriptdb;
