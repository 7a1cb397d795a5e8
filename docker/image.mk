# Verbs of the image, included by the Makefile.

# BuildKit is in Docker's own client (buildx), or in the daemon of older ones, whose client has to be told.
DOCKER ?= $(shell docker buildx version >/dev/null 2>&1 && echo docker || { test -x /usr/bin/docker && echo DOCKER_BUILDKIT=1 /usr/bin/docker || echo docker; })
IMAGE ?= flow-of-flows:$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml | head -1)

.PHONY: image
image: ## Build the image, and print its size.
	$(DOCKER) build --network host --build-arg REVISION=$$(git rev-parse HEAD) $(BUILD_ARGS) --tag $(IMAGE) .
	@$(DOCKER) image inspect --format '$(IMAGE): {{.Size}} bytes' $(IMAGE)
