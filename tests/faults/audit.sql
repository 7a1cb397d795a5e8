-- What every pod did, and every model that dbt built: written by the database, so that nothing done twice is overlooked.
create schema faults;
create table faults.effects (
    run text not null, parent text, pod text not null, what text not null, at timestamptz not null default clock_timestamp()
);
create table faults.built (relation text not null, at timestamptz not null default clock_timestamp());

-- In the transaction of the build: one that is rolled back leaves no row.
create function faults.note() returns event_trigger language plpgsql as $$
begin
    insert into faults.built (relation)
    select replace(replace(object_identity, '__dbt_tmp', ''), '"', '')
    from pg_event_trigger_ddl_commands()
    where schema_name = 'analytics' and object_type in ('table', 'view');
end $$;
create event trigger built on ddl_command_end
when tag in ('CREATE TABLE', 'CREATE TABLE AS', 'CREATE VIEW') execute function faults.note();
