"""The only users of the Kubernetes client: the client itself, and the pod observer of the worker."""
