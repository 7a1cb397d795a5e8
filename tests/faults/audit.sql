-- What every pod did, and every model that dbt built: written by the database, so that nothing done twice is overlooked.
create schema faults;
create table faults.effects (
    run text not null,
    parent text,
    pod text not null,
    what text not null,
    at timestamptz not null default clock_timestamp()
);
create table faults.built (relation text not null, at timestamptz not null default clock_timestamp());

-- In the transaction of the build: one that is rolled back leaves no row. An incremental model is built in pg_temp.
create function faults.note() returns event_trigger language plpgsql as $$
begin
    insert into faults.built (relation)
    select regexp_replace(relation.relname, '__dbt_tmp.*$', '')
    from pg_event_trigger_ddl_commands() as command
    join pg_class as relation on relation.oid = command.objid
    where (command.schema_name = 'analytics' or command.schema_name like 'pg_temp%')
        and relation.relkind in ('r', 'v');
end $$;
create event trigger built on ddl_command_end
when tag in ('CREATE TABLE', 'CREATE TABLE AS', 'CREATE VIEW') execute function faults.note();
