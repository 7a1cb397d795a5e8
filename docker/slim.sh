#!/bin/sh
# Takes out of a folder tree what no process in the image reads. `slim.sh venv FOLDER`, or `slim.sh system` for the root.
set -eu

venv() {
  packages=$(echo "$1"/lib/python3.*/site-packages)
  # Symbols for debuggers. What auditwheel has put into `*.libs` is left alone: strip breaks the layout of such files.
  find "$packages" -name '*.so' -type f ! -path '*.libs/*' -exec strip --strip-unneeded {} + 2>/dev/null || true
  find "$packages" \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.h' -o -name '*.c' -o -name '*.a' \) -type f -delete
  # Tests of packages; numpy.testing and others of that name are code.
  for package in numpy matplotlib networkx fontTools pandas aiohttp sqlalchemy psutil greenlet duckdb; do
    find "$packages/$package" -depth -type d -name tests -exec rm -rf {} + 2>/dev/null || true
  done
  # Texts in languages nobody asks for: countries are named in English, and numbers are formatted in English.
  rm -rf "$packages"/pycountry/locales
  if [ -d "$packages/babel/locale-data" ]; then
    find "$packages/babel/locale-data" -type f ! -name 'root.dat' ! -name 'en.dat' ! -name 'en_*.dat' -delete
  fi
  # Services of AWS that are never called from here.
  if [ -d "$packages/botocore/data" ]; then
    find "$packages/botocore/data" -mindepth 1 -maxdepth 1 -type d \
      ! -name s3 ! -name sts ! -name sso ! -name sso-oidc ! -name secretsmanager -exec rm -rf {} +
  fi
}

system() {
  rm -rf /usr/share/doc /usr/share/man /usr/share/info /usr/share/locale /usr/share/lintian /usr/share/python-wheels \
    /var/cache/* /var/lib/apt/* /var/log/* /usr/lib/apt /root/.cache /tmp/*
  # Nothing is installed in a running image.
  for root in /usr/lib/python3 /usr/local/lib/python3.*; do
    rm -rf "$root"/dist-packages/pip* "$root"/dist-packages/setuptools* "$root"/dist-packages/wheel* \
      "$root"/dist-packages/pkg_resources "$root"/dist-packages/_distutils_hack "$root"/site-packages/pip* \
      "$root"/site-packages/setuptools* "$root"/site-packages/wheel* "$root"/ensurepip "$root"/test "$root"/idlelib
  done
  rm -rf /usr/lib/python3.*/ensurepip /usr/lib/python3.*/test /usr/lib/python3.*/idlelib /usr/lib/python3.*/config-*
  rm -f /usr/bin/apt* /usr/bin/pip* /usr/local/bin/pip* /usr/bin/dpkg* /usr/bin/perl* /usr/lib/*/libapt-pkg* \
    /usr/lib/*/libperl*
  rm -rf /usr/lib/*/perl-base /usr/share/perl* /usr/lib/*/gconv
}

"$@"
