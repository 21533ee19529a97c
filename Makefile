.PHONY: setup

# Installs the Debian packages the build needs (as root), or says which command to run.
setup:
	@.ci/setup.sh
