#!/bin/sh
# Takes out what no process in the image reads: `slim.sh venv FOLDER` of an environment, `slim.sh system` of the root.
set -eu

venv() {
  packages=$(echo "$1"/lib/python3.*/site-packages)
  # Symbols for debuggers. What auditwheel has put into `*.libs` is left alone: strip breaks the layout of such files.
  find "$packages" -name '*.so' -type f ! -path '*.libs/*' -exec strip --strip-unneeded {} + 2>/dev/null || true
  find "$packages" \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.h' -o -name '*.c' -o -name '*.a' \) -type f -delete
  # Tests of packages, and what they are built with. dbt's folders of that name are templates and code.
  find "$packages" -depth -type d \( -name tests -o -name test \) ! -path "$packages/dbt*" -exec rm -rf {} +
  rm -rf "$packages"/sqlalchemy/testing "$packages"/numpy/distutils "$packages"/numpy/f2py "$packages"/duckdb/experimental
  # Texts in languages nobody asks for: countries are named in English, and numbers are formatted in English.
  rm -rf "$packages"/pycountry/locales
  if [ -d "$packages/babel/locale-data" ]; then
    find "$packages/babel/locale-data" -type f ! -name 'root.dat' ! -name 'en.dat' ! -name 'en_*.dat' -delete
  fi
  # Pictures in AVIF, which Pillow reads when it can.
  rm -rf "$packages"/PIL/_avif.* "$packages"/pillow.libs/libavif-*
  # Services of AWS that are never called from here.
  if [ -d "$packages/botocore/data" ]; then
    find "$packages/botocore/data" -mindepth 1 -maxdepth 1 -type d \
      ! -name s3 ! -name sts ! -name sso ! -name sso-oidc ! -name secretsmanager -exec rm -rf {} +
  fi
  "$1"/bin/python -m compileall -q -j 0 "$packages"
  # A thousand generated classes, each in a file of its own: byte code is all that is read of them.
  if [ -d "$packages/kubernetes_asyncio/client" ]; then
    "$1"/bin/python -m compileall -q -b "$packages"/kubernetes_asyncio/client
    find "$packages"/kubernetes_asyncio/client -name '*.py' -delete
    find "$packages"/kubernetes_asyncio/client -name __pycache__ -exec rm -rf {} +
  fi
}

system() {
  # Nobody logs in, mounts, or installs; dpkg's own list stays, for whoever scans the image.
  for package in perl-base perl libperl5.36 perl-modules-5.36 liberror-perl git-man libgdbm-compat4 apt libapt-pkg6.0 gpgv \
    debian-archive-keyring e2fsprogs libext2fs2 libss2 logsave mount util-linux util-linux-extra bsdutils libmount1 \
    libsmartcols1 libblkid1 libsystemd0 libudev1 libgcrypt20 libgpg-error0 passwd login adduser libpam-modules \
    libpam-modules-bin libpam-runtime libpam0g libsemanage2 libsemanage-common libsepol2 ncurses-bin sysvinit-utils \
    init-system-helpers python3-pip python3-pip-whl python3-setuptools python3-setuptools-whl python3-pkg-resources \
    python3-wheel python3-venv python3.11-venv; do
    if dpkg-query --status "$package" > /dev/null 2>&1; then set -- "$@" "$package"; fi
  done
  # Their scripts would look after services and users that a container does not have.
  rm -f /var/lib/dpkg/info/*.prerm /var/lib/dpkg/info/*.postrm
  dpkg --purge --force-all "$@" > /tmp/purged 2>&1 || { cat /tmp/purged; exit 1; }
  rm -rf /usr/share/doc /usr/share/man /usr/share/info /usr/share/locale /usr/share/lintian /usr/share/bash-completion \
    /var/cache/* /var/lib/apt /var/log/* /root/.cache /usr/lib/*/gconv /usr/bin/dpkg* /usr/sbin/dpkg* /usr/local/bin/pip*
  # Of git what fetches a commit over https; its other commands are links to one file, or are scripts.
  find /usr/lib/git-core -mindepth 1 ! -name git ! -name git-remote-http ! -name git-remote-https -delete
  ln -sf /usr/bin/git /usr/lib/git-core/git
  rm -rf /usr/bin/git-* /usr/bin/scalar /usr/share/git-core /usr/share/perl* /usr/share/gitweb /etc/bash_completion.d
  library=$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
  for packages in /usr/local/lib/python3.*/site-packages /usr/local/lib/python3.*/dist-packages /usr/lib/python3/dist-packages; do
    rm -rf "$packages"/pip* "$packages"/setuptools* "$packages"/wheel* "$packages"/pkg_resources "$packages"/_distutils_hack
  done
  rm -rf "$library"/ensurepip "$library"/test "$library"/idlelib "$library"/config-* "$library"/pydoc_data /tmp/*
  # The base comes without byte code of the standard library, and nothing can write it later.
  find "$library" -name '*.opt-*.pyc' -delete
  python3 -m compileall -q -x 'lib2to3/tests|site-packages|dist-packages' "$library"
}

"$@"
