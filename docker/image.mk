# Verbs of the image, included by the Makefile.

# BuildKit is in Docker's own client (buildx), or in the daemon of older ones, whose client has to be told.
DOCKER ?= $(shell docker buildx version >/dev/null 2>&1 && echo docker || { test -x /usr/bin/docker && echo env DOCKER_BUILDKIT=1 /usr/bin/docker || echo docker; })
IMAGE ?= flow-of-flows:$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml | head -1)

.PHONY: image
image: ## Build the base image and, on it, that of this project, and print their sizes.
	$(DOCKER) build --network host --build-arg REVISION=$$(git rev-parse HEAD) $(BUILD_ARGS) --target base --tag $(IMAGE)-base .
	$(DOCKER) build --network host --build-arg REVISION=$$(git rev-parse HEAD) --build-arg SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) \
		$(BUILD_ARGS) --tag $(IMAGE) .
	@for image in $(IMAGE)-base $(IMAGE); do $(DOCKER) image inspect --format "$$image: {{.Size}} bytes" $$image; done

.PHONY: test-image
test-image: .venv/locked ## Test the image: what is in it, and that it runs read-only as any user.
	DOCKER="$(DOCKER)" IMAGE=$(IMAGE) $(RUN)/pytest -n 0 tests/image

.PHONY: bench-image
bench-image: .venv/locked ## Compare the image's size with that of a plain `pip install`.
	DOCKER="$(DOCKER)" IMAGE=$(IMAGE) PATH="$(dir $(UV)):$$PATH" $(RUN)/python -m tests.benchmarks.image
