# PostgreSQL with stonescriptdb, built from source. docs/packages.md says how it is run.
#
#     docker build -t stonescriptdb .

FROM rust:1-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
        build-essential clang libclang-dev pkg-config postgresql-15 postgresql-server-dev-15 python3
WORKDIR /src
COPY . .
# As root; scripts/lib.sh installs cargo-pgrx in the version that Cargo.toml asks for.
RUN make deb

FROM postgres:15-bookworm
COPY --from=build /src/target/deb/*.deb /tmp/
# PostgreSQL is there already, from PostgreSQL's own packages of the same name.
RUN dpkg -i /tmp/postgresql-15-stonescriptdb_*.deb /tmp/stonescriptdb_*.deb && rm /tmp/*.deb
# The cluster is made at the first start, with the extension in its control database.
COPY packaging/docker/create-extension.sql /docker-entrypoint-initdb.d/
# From outside the container, HTTP comes by its network: say with stonescriptdb.allowed_networks who may.
CMD ["postgres", "-c", "shared_preload_libraries=stonescriptdb", "-c", "max_worker_processes=32", \
     "-c", "stonescriptdb.listen_addresses=*"]
EXPOSE 5432 9000
