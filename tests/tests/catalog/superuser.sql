-- What only a superuser can make, in the same database.
CREATE EXTENSION pg_trgm SCHEMA public;
CREATE TYPE public.base;
CREATE FUNCTION public.shell_in(cstring) RETURNS public.base LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION public.shell_out(public.base) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE TYPE public.base (INPUT = public.shell_in, OUTPUT = public.shell_out, LIKE = int4);
CREATE FOREIGN DATA WRAPPER wrapper;
CREATE SERVER far FOREIGN DATA WRAPPER wrapper;
CREATE FOREIGN TABLE public.far_away (a int) SERVER far;
CREATE FUNCTION public.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION public.on_ddl();
CREATE OPERATOR CLASS public.odd_ops FOR TYPE int USING btree AS
    OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 btint4cmp (int, int);
CREATE PUBLICATION news FOR TABLE public.people;
